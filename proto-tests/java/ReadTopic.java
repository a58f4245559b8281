import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads a topic from its start to its present end with Kafka's own consumer and prints a line a record.
 *
 * Arguments: bootstrap servers, topic, isolation level, and `full` or `short`. Full lines are JSON arrays (partition, offset,
 * timestamp, key, value, headers) with bytes as hexadecimal digits; short ones are partition, key and value as text.
 */
public class ReadTopic {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("isolation.level", arguments[2]);
        settings.put("auto.offset.reset", "none");
        settings.put("enable.auto.commit", "false");
        boolean full = arguments[3].equals("full");
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> open = new ArrayList<>();
            for (PartitionInfo info : consumer.partitionsFor(arguments[1])) {
                open.add(new TopicPartition(info.topic(), info.partition()));
            }
            Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(open));
            consumer.assign(open);
            consumer.seekToBeginning(open);
            while (!open.isEmpty()) {
                for (ConsumerRecord<byte[], byte[]> record : poll(consumer)) {
                    out.append(full ? full(record) : record.partition() + "\t" + text(record.key()) + "\t" + text(record.value()));
                    out.append('\n');
                }
                if (out.length() > 1 << 16) {
                    System.out.print(out);
                    out.setLength(0);
                }
                open.removeIf(partition -> consumer.position(partition) >= ends.get(partition));
            }
        }
        System.out.print(out);
        System.out.flush();
    }

    /** `poll(Duration)` came with 2.0, `poll(long)` went with 4.0. */
    @SuppressWarnings("unchecked")
    static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer) throws Exception {
        try {
            Method poll = KafkaConsumer.class.getMethod("poll", java.time.Duration.class);
            return (ConsumerRecords<byte[], byte[]>) poll.invoke(consumer, java.time.Duration.ofMillis(200));
        } catch (NoSuchMethodException older) {
            Method poll = KafkaConsumer.class.getMethod("poll", long.class);
            return (ConsumerRecords<byte[], byte[]>) poll.invoke(consumer, 200L);
        }
    }

    static String full(ConsumerRecord<byte[], byte[]> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add("[" + hex(header.key().getBytes(StandardCharsets.UTF_8)) + "," + hex(header.value()) + "]");
        }
        return "[" + record.partition() + "," + record.offset() + "," + record.timestamp() + "," + hex(record.key()) + ","
                + hex(record.value()) + ",[" + String.join(",", headers) + "]]";
    }

    static String text(byte[] bytes) {
        return bytes == null ? "null" : new String(bytes, StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        if (bytes == null) {
            return "null";
        }
        StringBuilder digits = new StringBuilder("\"");
        for (byte one : bytes) {
            digits.append(Character.forDigit((one >> 4) & 15, 16)).append(Character.forDigit(one & 15, 16));
        }
        return digits.append('"').toString();
    }
}
