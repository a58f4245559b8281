import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fills a broker with records of every kind that it knows, through the producer of its own version. Arguments: bootstrap
 * server, "zstd" or "-", then the names of older message formats, oldest first (none where the broker knows only one).
 * Compiles against every version of kafka-clients from 0.11 to 4.4. Every topic has one partition.
 */
public class BrokerRecords {
    static final long TIME = 1_600_000_000_000L;
    static final long DAY = 86_400_000L;
    static final long LIMIT_MS = 120_000;
    static String server;

    public static void main(String[] arguments) throws Exception {
        server = arguments[0];
        List<String> codecs = new ArrayList<>(Arrays.asList("none", "gzip", "snappy", "lz4"));
        if (arguments[1].equals("zstd")) {
            codecs.add("zstd");
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        try (AdminClient admin = AdminClient.create(settings)) {
            for (String codec : codecs) {
                create(admin, "codec-" + codec);
                codec(codec);
            }
            create(admin, "headers");
            headers();
            create(admin, "append-time", "message.timestamp.type", "LogAppendTime");
            for (String codec : codecs) {
                appendTime(codec);
            }
            create(admin, "transactions");
            create(admin, "compacted", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.001", "segment.ms",
                    Long.toString(DAY / 2), "delete.retention.ms", "0");
            create(admin, "librdkafka");
            if (arguments.length > 2) {
                create(admin, "formats", "message.format.version", arguments[2]);
                formats(admin, Arrays.asList(arguments).subList(2, arguments.length));
            }
            compacted();
            transactions();
        }
        System.out.println("written");
        System.out.flush();
        // The transaction that is open stays open: closing its producer would end it.
        Runtime.getRuntime().halt(0);
    }

    static void create(AdminClient admin, String topic, String... configs) throws Exception {
        Map<String, String> map = new HashMap<>();
        for (int n = 0; n < configs.length; n += 2) {
            map.put(configs[n], configs[n + 1]);
        }
        admin.createTopics(Collections.singleton(new NewTopic(topic, 1, (short) 1).configs(map))).all().get();
    }

    static KafkaProducer<byte[], byte[]> producer(String codec, String transactionalId) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        settings.put("compression.type", codec);
        settings.put("acks", "all");
        settings.put("linger.ms", "200");
        if (transactionalId != null) {
            settings.put("transactional.id", transactionalId);
            settings.put("transaction.timeout.ms", "900000");
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static ProducerRecord<byte[], byte[]> record(String topic, Long time, String key, String value, Header... headers) {
        return new ProducerRecord<>(topic, 0, time, bytes(key), bytes(value), Arrays.asList(headers));
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    /** Three batches: null, empty, short and long keys and values; times go up and down. */
    static void codec(String codec) throws Exception {
        StringBuilder text = new StringBuilder();
        for (int n = 0; n < 300; n++) {
            text.append("line ").append(n % 17).append(", ");
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, null)) {
            for (int batch = 0; batch < 3; batch++) {
                long time = TIME + batch * 1000;
                for (int n = 0; n < 10; n++) {
                    String key = n % 4 == 0 ? null : n % 4 == 1 ? "" : "key-" + n;
                    String value = n % 5 == 0 ? null : n % 5 == 1 ? "" : n % 5 == 2 ? text.toString() : "value-" + n;
                    producer.send(record("codec-" + codec, time + n * (n % 3 == 0 ? -7 : 11), key, value));
                }
                producer.flush();
            }
        }
    }

    static void headers() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer("none", null)) {
            producer.send(record("headers", TIME, "k", "v", new RecordHeader("x-tag", bytes("1")),
                    new RecordHeader("x-tag", bytes("2")), new RecordHeader("o", bytes("3")),
                    new RecordHeader("x-tag", bytes("1"))));
            producer.send(record("headers", TIME + 1, null, null, new RecordHeader("null", (byte[]) null)));
            producer.send(record("headers", TIME + 2, "", "", new RecordHeader("", new byte[0])));
            producer.send(record("headers", TIME + 3, "k", "v", new RecordHeader("bytes", new byte[] {0, -1, 127, -128})));
            producer.send(record("headers", TIME + 4, "k", "none"));
            producer.flush();
        }
        try (KafkaProducer<byte[], byte[]> producer = producer("gzip", null)) {
            for (int n = 0; n < 20; n++) {
                List<Header> headers = new ArrayList<>();
                for (int h = 0; h < n; h++) {
                    headers.add(new RecordHeader("h" + h % 3, h % 4 == 0 ? null : bytes("value " + h)));
                }
                producer.send(record("headers", TIME + 10 + n, "k" + n, "v", headers.toArray(new Header[0])));
            }
        }
    }

    /** The producer's times are of 1970; what counts is the broker's. */
    static void appendTime(String codec) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, null)) {
            for (int n = 0; n < 5; n++) {
                producer.send(record("append-time", 1000L * n, "k" + n, codec));
            }
        }
    }

    static void transactions() throws Exception {
        KafkaProducer<byte[], byte[]> one = producer("none", "one");
        KafkaProducer<byte[], byte[]> two = producer("gzip", "two");
        one.initTransactions();
        two.initTransactions();
        try (KafkaProducer<byte[], byte[]> plain = producer("lz4", null)) {
            transaction(one, "one committed", 5, true);
            transaction(one, "one aborted", 5, false);
            plain.send(record("transactions", TIME, "plain", "between")).get();
            // Two at once, of which the first to begin is the last to end.
            one.beginTransaction();
            one.send(record("transactions", TIME, "one", "interleaved, committed")).get();
            two.beginTransaction();
            two.send(record("transactions", TIME, "two", "interleaved, aborted")).get();
            plain.send(record("transactions", TIME, "plain", "inside both")).get();
            two.abortTransaction();
            transaction(two, "two committed", 3, true);
            transaction(two, "two aborted", 3, false);
            one.send(record("transactions", TIME, "one", "interleaved, committed")).get();
            one.commitTransaction();
            transaction(one, "aborted at the end", 40, false);
            one.beginTransaction();
            one.send(record("transactions", TIME, "one", "open")).get();
            plain.send(record("transactions", TIME, "plain", "after an open one")).get();
        }
    }

    static void transaction(KafkaProducer<byte[], byte[]> producer, String value, int count, boolean commits) {
        producer.beginTransaction();
        for (int n = 0; n < count; n++) {
            producer.send(record("transactions", TIME + n, "k" + n, value, new RecordHeader("n", bytes("" + n))));
        }
        producer.flush();
        if (commits) {
            producer.commitTransaction();
        } else {
            producer.abortTransaction();
        }
    }

    /**
     * Segments end where the records' time jumps by a day. The last thing in the log is a marker, so that its end is a hole,
     * and the cleaner makes more of them at the ends of older batches and segments.
     */
    static void compacted() throws Exception {
        try (KafkaProducer<byte[], byte[]> gzip = producer("gzip", null);
                KafkaProducer<byte[], byte[]> plain = producer("none", null)) {
            for (int n = 0; n < 200; n++) {
                (n < 100 ? gzip : plain).send(record("compacted", TIME + n, "k" + n % 20, "first " + n));
                if (n == 99) {
                    gzip.flush();
                }
            }
            plain.flush();
            for (int n = 10; n < 20; n++) {
                gzip.send(record("compacted", TIME + DAY + n, "k" + n, n == 15 ? null : "second"));
            }
            gzip.flush();
            for (int n = 0; n < 5; n++) {
                plain.send(record("compacted", TIME + 2 * DAY + n, "k" + (15 + n), "third"));
            }
            plain.flush();
        }
        try (KafkaProducer<byte[], byte[]> last = producer("none", "compacted")) {
            last.initTransactions();
            last.beginTransaction();
            last.send(record("compacted", TIME + 3 * DAY, "last", "aborted"));
            last.flush();
            last.abortTransaction();
            // It must be gone, too: another roll, and nothing but a marker in the last segment but one record.
            last.beginTransaction();
            last.send(record("compacted", TIME + 4 * DAY, "last", "committed"));
            last.commitTransaction();
        }
        // k0 to k9 and k10 to k14 once, k15 to k19 once, and the last: what is left when the cleaner is through.
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        for (int left = count("compacted"); left > 21; left = count("compacted")) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("the cleaner left " + left + " records after " + LIMIT_MS + " ms");
            }
            Thread.sleep(200);
        }
    }

    static int count(String topic) throws Exception {
        return read(topic).size();
    }

    static List<ConsumerRecord<byte[], byte[]>> read(String topic) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        BrokerDump.read(server, topic, 0, "read_committed", records::add);
        return records;
    }

    /** Every format in turn in one partition, with every codec. */
    static void formats(AdminClient admin, List<String> formats) throws Exception {
        for (String format : formats) {
            boolean withHeaders = format.startsWith("0.11"), withTime = !format.startsWith("0.9");
            Map<ConfigResource, Config> change = Collections.singletonMap(
                    new ConfigResource(ConfigResource.Type.TOPIC, "formats"),
                    new Config(Collections.singleton(new ConfigEntry("message.format.version", format))));
            // Gone in 4.0, where a topic has no format.
            Object done = AdminClient.class.getMethod("alterConfigs", Map.class).invoke(admin, change);
            ((org.apache.kafka.common.KafkaFuture<?>) done.getClass().getMethod("all").invoke(done)).get();
            // The change takes a moment to arrive. A format without headers refuses them, one without times loses them.
            long deadline = System.currentTimeMillis() + LIMIT_MS;
            while (!arrived(withTime, withHeaders)) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("message format " + format + " is not in force");
                }
                Thread.sleep(100);
            }
            for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4")) {
                try (KafkaProducer<byte[], byte[]> producer = producer(codec, null)) {
                    for (int n = 0; n < 6; n++) {
                        Header[] headers = withHeaders ? new Header[] {new RecordHeader("n", bytes("" + n))} : new Header[0];
                        String value = n == 3 ? null : format + " " + codec + " " + n;
                        producer.send(record("formats", TIME + n, n == 2 ? null : "k" + n, value, headers));
                    }
                }
            }
        }
    }

    static boolean arrived(boolean withTime, boolean withHeaders) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer("none", null)) {
            Header[] headers = withHeaders ? new Header[] {new RecordHeader("probe", (byte[]) null)} : new Header[0];
            producer.send(record("formats", TIME, "probe", withTime + " " + withHeaders, headers)).get();
        } catch (ExecutionException refused) {
            return false;
        }
        List<ConsumerRecord<byte[], byte[]>> records = read("formats");
        ConsumerRecord<byte[], byte[]> last = records.get(records.size() - 1);
        boolean hasTime = last.timestampType() != TimestampType.NO_TIMESTAMP_TYPE;
        return hasTime == withTime && last.headers().iterator().hasNext() == withHeaders;
    }
}
