import com.aliyun.odps.Odps;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.data.ArrayRecord;
import com.aliyun.odps.data.RecordWriter;
import com.aliyun.odps.tunnel.Configuration;
import com.aliyun.odps.tunnel.TableTunnel;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A topic into a table, as one would write it with Kafka's consumer and odps-sdk, tuned: a token parser instead of a tree, chunks of
 * 64 KiB, one record object for all rows. Options: --bootstrap-server, --topic, --partitions, --records, --endpoint,
 * --tunnel-endpoint.
 */
public class Pipeline {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new TreeMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i], arguments[i + 1]);
        }
        Odps odps = new Odps(new AliyunAccount("sandbox", "sandbox"));
        odps.setEndpoint(options.get("--endpoint"));
        odps.setDefaultProject("sandbox");
        odps.setTunnelEndpoint(options.get("--tunnel-endpoint"));
        Configuration configuration = new Configuration(odps);
        configuration.setChunkSize(64 << 10);
        TableTunnel tunnel = new TableTunnel(odps, configuration);
        tunnel.setEndpoint(options.get("--tunnel-endpoint"));
        TableTunnel.UploadSession session = tunnel.createUploadSession("sandbox", "events");

        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.get("--bootstrap-server"));
        settings.put("check.crcs", "true");
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", "20000");
        KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < Integer.parseInt(options.get("--partitions")); i++) {
            partitions.add(new TopicPartition(options.get("--topic"), i));
        }
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);

        long wanted = Long.parseLong(options.get("--records")), records = 0;
        JsonFactory json = new JsonFactory();
        ArrayRecord row = (ArrayRecord) session.newRecord();
        try (RecordWriter writer = session.openRecordWriter(0)) {
            while (records < wanted) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    row.clear();
                    members(json, record.value(), row);
                    row.setString(3, Integer.toString(record.partition()));
                    row.setString(4, Long.toString(record.offset()));
                    row.setString(5, Long.toString(record.timestamp()));
                    row.setString(6, record.value());
                    writer.write(row);
                    records++;
                }
            }
        }
        session.commit(new Long[] {0L});
        System.out.println(records);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** event_id, amount and tag.desc. */
    private static void members(JsonFactory json, byte[] value, ArrayRecord row) throws Exception {
        try (JsonParser parser = json.createParser(value)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.getCurrentName();
                parser.nextToken();
                if (name.equals("event_id")) {
                    row.setString(0, parser.getText());
                } else if (name.equals("amount")) {
                    row.setBigint(1, parser.getLongValue());
                } else if (name.equals("tag")) {
                    while (parser.nextToken() == JsonToken.FIELD_NAME) {
                        boolean wanted = parser.getCurrentName().equals("desc");
                        parser.nextToken();
                        if (wanted) {
                            row.setString(2, parser.getText());
                        } else {
                            parser.skipChildren();
                        }
                    }
                } else {
                    parser.skipChildren();
                }
            }
        }
    }
}
