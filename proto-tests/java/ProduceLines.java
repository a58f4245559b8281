import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends every line of standard input as one record with a null key, through Kafka's own producer, and prints how many were
 * acknowledged. Arguments: bootstrap server, topic, codec.
 */
public class ProduceLines {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("compression.type", arguments[2]);
        settings.put("acks", "all");
        settings.put("linger.ms", "20");
        settings.put("batch.size", "262144");
        AtomicLong acknowledged = new AtomicLong(), bytes = new AtomicLong();
        AtomicReference<Exception> failure = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            InputStream input = new BufferedInputStream(System.in, 1 << 20);
            for (byte[] line = readLine(input); line != null && failure.get() == null; line = readLine(input)) {
                int length = line.length;
                producer.send(new ProducerRecord<>(arguments[1], line), (metadata, error) -> {
                    if (error != null) {
                        failure.compareAndSet(null, error);
                    } else {
                        acknowledged.incrementAndGet();
                        bytes.addAndGet(length);
                    }
                });
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        System.out.println(acknowledged + " records acknowledged, " + bytes + " bytes of values, " + arguments[2]);
    }

    private static byte[] buffer = new byte[1 << 16];

    /** The next line without its end; null at the end of input. */
    private static byte[] readLine(InputStream input) throws IOException {
        int length = 0;
        for (int next = input.read(); ; next = input.read()) {
            if (next == -1 && length == 0) {
                return null;
            }
            if (next == -1 || next == '\n') {
                return java.util.Arrays.copyOf(buffer, length);
            }
            if (length == buffer.length) {
                buffer = java.util.Arrays.copyOf(buffer, length * 2);
            }
            buffer[length++] = (byte) next;
        }
    }
}
