import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fills topic `golden`, of three partitions, with what tests/golden_frames says of it. Arguments: bootstrap server, then the
 * codecs of partition 1.
 */
public class GoldenTopic {
    static final String TOPIC = "golden";
    static final long TIME = 1_700_000_000_000L;

    public static void main(String[] arguments) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(arguments[0], "none", null)) {
            send(producer, 0, 0, "k0", "123", header("x-tag", "1"), header("x-tag", "2"), header("o", null));
            send(producer, 0, 1, null, "abc");
            send(producer, 0, 2, "k2", null);
        }
        for (String codec : Arrays.asList(arguments).subList(1, arguments.length)) {
            try (KafkaProducer<byte[], byte[]> producer = producer(arguments[0], codec, null)) {
                for (int n = 0; n < 3; n++) {
                    send(producer, 1, n, codec, "value " + n + " value value value value value");
                }
            }
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(arguments[0], "none", "golden")) {
            producer.initTransactions();
            transaction(producer, "c", "committed", true);
            transaction(producer, "a", "aborted", false);
            transaction(producer, "d", "committed too", true);
        }
        System.out.println("written");
    }

    static void transaction(KafkaProducer<byte[], byte[]> producer, String key, String value, boolean commits) {
        producer.beginTransaction();
        send(producer, 2, 0, key, value);
        producer.flush();
        if (commits) {
            producer.commitTransaction();
        } else {
            producer.abortTransaction();
        }
    }

    static KafkaProducer<byte[], byte[]> producer(String server, String codec, String transactionalId) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        settings.put("acks", "all");
        settings.put("compression.type", codec);
        // One batch for each codec.
        settings.put("linger.ms", "60000");
        if (transactionalId != null) {
            settings.put("transactional.id", transactionalId);
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void send(KafkaProducer<byte[], byte[]> producer, int partition, int n, String key, String value,
            Header... headers) {
        producer.send(new ProducerRecord<>(TOPIC, partition, TIME + n, bytes(key), bytes(value), Arrays.asList(headers)));
    }

    static Header header(String key, String value) {
        return new RecordHeader(key, bytes(value));
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }
}
