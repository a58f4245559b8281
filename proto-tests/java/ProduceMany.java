import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Writes records evenly to the partitions of a topic: servers, topic, partitions, count. Prints the count. */
public final class ProduceMany {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("acks", "all");
        properties.put("batch.size", "16384");
        properties.put("linger.ms", "20");
        String bytes = "org.apache.kafka.common.serialization.ByteArraySerializer";
        properties.put("key.serializer", bytes);
        properties.put("value.serializer", bytes);
        int partitions = Integer.parseInt(args[2]), count = Integer.parseInt(args[3]);
        Exception[] failed = new Exception[1];
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
            for (int i = 0; i < count; i++) {
                byte[] value = ("record " + i).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(args[1], i % partitions, null, value), (m, e) -> {
                    if (e != null) failed[0] = e;
                });
            }
        }
        if (failed[0] != null) throw failed[0];
        System.out.println(count);
    }
}
