import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Reads a topic to its last record: --bootstrap-server, --topic, --partitions, and --records or --idle (seconds). */
public class CountRecords {
    public static void main(String[] arguments) {
        Map<String, String> options = new TreeMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i], arguments[i + 1]);
        }
        // The start of the JVM counts.
        Instant started = ProcessHandle.current().info().startInstant().orElseGet(Instant::now);
        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.get("--bootstrap-server"));
        settings.put("client.id", "java");
        settings.put("check.crcs", "true");
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("fetch.max.bytes", "52428800");
        settings.put("max.partition.fetch.bytes", "1048576");
        settings.put("fetch.max.wait.ms", "500");
        settings.put("fetch.min.bytes", "1");
        settings.put("max.poll.records", "20000");
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(options.get("--partitions")); i++) {
            partitions.add(new TopicPartition(options.get("--topic"), i));
        }
        long wanted = Long.parseLong(options.getOrDefault("--records", "0"));
        long idle = Long.parseLong(options.getOrDefault("--idle", "0"));
        long records = 0, bytes = 0;
        double first = 0;
        KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.assign(partitions);
        if (idle > 0) {
            consumer.seekToEnd(partitions);
        } else {
            consumer.seekToBeginning(partitions);
        }
        while (idle > 0 ? seconds(started) < idle : records < wanted) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                if (records == 0) {
                    first = seconds(started);
                }
                records++;
                bytes += (record.key() == null ? 0 : record.key().length)
                        + (record.value() == null ? 0 : record.value().length);
            }
        }
        System.out.printf("{\"records\": %d, \"bytes\": %d, \"first_record_seconds\": %.6f}%n", records, bytes, first);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static double seconds(Instant since) {
        return Duration.between(since, Instant.now()).toNanos() / 1e9;
    }
}
