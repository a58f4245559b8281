import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Collections;
import java.util.Map;
import java.util.Properties;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Carries out the lines of standard input against partition 0 of a topic, with the consumer of the version it is compiled
 * against, and prints what comes of each, every line beginning with the number of the input line:
 *
 * <pre>
 * read TOPIC OFFSET ISOLATION    record OFFSET TYPE TIME KEY VALUE HEADER=VALUE...; then: end POSITION
 * time TOPIC MILLISECONDS        found OFFSET TIME, or: none
 * range TOPIC ISOLATION          range FIRST END
 * </pre>
 *
 * Bytes are hexadecimal, between brackets; null is a dash. Argument: bootstrap server.
 */
public class BrokerDump {
    static final long LIMIT_MS = 120_000;

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        int number = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine(), number++) {
            String[] words = line.split(" ");
            String prefix = number + " ";
            TopicPartition partition = new TopicPartition(words[1], 0);
            if (words[0].equals("read")) {
                long end = read(arguments[0], words[1], Long.parseLong(words[2]), words[3],
                        record -> out.append(prefix).append(shown(record)).append('\n'));
                out.append(prefix).append("end ").append(end).append('\n');
            } else if (words[0].equals("time")) {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(arguments[0], "read_uncommitted")) {
                    Map<TopicPartition, OffsetAndTimestamp> all =
                            consumer.offsetsForTimes(Collections.singletonMap(partition, Long.valueOf(words[2])));
                    OffsetAndTimestamp found = all.get(partition);
                    out.append(prefix).append(found == null ? "none" : "found " + found.offset() + " " + found.timestamp());
                    out.append('\n');
                }
            } else {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(arguments[0], words[2])) {
                    long first = consumer.beginningOffsets(Collections.singleton(partition)).get(partition);
                    long end = consumer.endOffsets(Collections.singleton(partition)).get(partition);
                    out.append(prefix).append("range ").append(first).append(' ').append(end).append('\n');
                }
            }
        }
        System.out.print(out);
    }

    static KafkaConsumer<byte[], byte[]> consumer(String server, String isolation) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        settings.put("isolation.level", isolation);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "none");
        // Small enough that a topic takes several fetches.
        settings.put("max.partition.fetch.bytes", "4096");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Reads from an offset to the end; the position there. */
    static long read(String server, String topic, long from, String isolation, Consumer<ConsumerRecord<byte[], byte[]>> each)
            throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(server, isolation)) {
            consumer.assign(Collections.singleton(partition));
            consumer.seek(partition, from);
            long end = consumer.endOffsets(Collections.singleton(partition)).get(partition);
            long deadline = System.currentTimeMillis() + LIMIT_MS;
            while (consumer.position(partition) < end) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(topic + " stays at " + consumer.position(partition) + " of " + end);
                }
                for (ConsumerRecord<byte[], byte[]> record : poll(consumer)) {
                    each.accept(record);
                }
            }
            return consumer.position(partition);
        }
    }

    /** poll(long) is gone in 4.0, and poll(Duration) came with 2.0. */
    @SuppressWarnings("unchecked")
    static ConsumerRecords<byte[], byte[]> poll(KafkaConsumer<byte[], byte[]> consumer) throws Exception {
        try {
            Object records = KafkaConsumer.class.getMethod("poll", Duration.class).invoke(consumer, Duration.ofMillis(200));
            return (ConsumerRecords<byte[], byte[]>) records;
        } catch (NoSuchMethodException old) {
            return (ConsumerRecords<byte[], byte[]>) KafkaConsumer.class.getMethod("poll", long.class).invoke(consumer, 200L);
        }
    }

    static String shown(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder line = new StringBuilder("record ").append(record.offset()).append(' ');
        line.append(record.timestampType()).append(' ').append(record.timestamp());
        line.append(' ').append(shown(record.key())).append(' ').append(shown(record.value()));
        for (Header header : record.headers()) {
            line.append(' ').append(shown(header.key().getBytes(java.nio.charset.StandardCharsets.UTF_8)));
            line.append('=').append(shown(header.value()));
        }
        return line.toString();
    }

    static String shown(byte[] bytes) {
        if (bytes == null) {
            return "-";
        }
        StringBuilder text = new StringBuilder("[");
        for (byte one : bytes) {
            text.append(String.format("%02x", one));
        }
        return text.append(']').toString();
    }
}
