import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;

/**
 * Writes record vectors with Kafka's own classes: the bytes, and what those same classes read in them.
 *
 * Arguments: the folder to write to and the version of the client on the class path, which decides what cases there are.
 * vectors/records/make runs this with three of them.
 */
public class RecordVectors {
    static final long TIME = 1_700_000_000_000L;
    static final long APPEND_TIME = 1_800_000_000_123L;
    static Path folder;
    static String version;

    public static void main(String[] args) throws Exception {
        folder = Path.of(args[0]);
        version = args[1];
        if (version.startsWith("1.")) {
            old();
        } else if (version.startsWith("2.")) {
            write("v2-zstd", "a batch, zstd", small(2, "ZSTD", TimestampType.CREATE_TIME));
            write("v1-lz4", "a wrapper, LZ4", small(1, "LZ4", TimestampType.CREATE_TIME));
        } else {
            recent();
        }
    }

    static void old() throws Exception {
        for (int magic = 0; magic <= 2; magic++) {
            TimestampType kind = magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME;
            for (String codec : new String[] {"NONE", "GZIP", "SNAPPY", "LZ4"}) {
                write(name(magic, codec), "five records", small(magic, codec, kind));
                if (magic == 1 || (magic == 2 && codec.equals("NONE"))) {
                    write(name(magic, codec) + "-append-time", "records with times of their own on a topic of append-time",
                            small(magic, codec, TimestampType.LOG_APPEND_TIME));
                }
                if (magic < 2 && !codec.equals("NONE")) {
                    write(name(magic, codec) + "-gaps", "what compaction leaves of a wrapper", gaps(magic, codec, kind));
                    write(name(magic, codec) + "-large", "144 KB in 24 records", large(magic, codec, kind));
                }
            }
        }
        mixed();
    }

    static void recent() throws Exception {
        for (String codec : new String[] {"NONE", "GZIP", "SNAPPY", "LZ4", "ZSTD"}) {
            write(name(2, codec), "five records", small(2, codec, TimestampType.CREATE_TIME));
            write(name(2, codec) + "-append-time", "records with times of their own on a topic of append-time",
                    small(2, codec, TimestampType.LOG_APPEND_TIME));
            write(name(2, codec) + "-gaps", "what compaction leaves of a batch", gaps(2, codec, TimestampType.CREATE_TIME));
            if (!codec.equals("NONE")) {
                write(name(2, codec) + "-large", "144 KB in 24 records", large(2, codec, TimestampType.CREATE_TIME));
            }
        }
        untimed();
        transactions();
        emptied();
    }

    static String name(int magic, String codec) {
        return "v" + magic + "-" + codec.toLowerCase();
    }

    /** Nulls, empties, repeated headers, times that go back and forth. */
    static ByteBuffer small(int magic, String codec, TimestampType kind) throws Exception {
        MemoryRecordsBuilder builder = builder(1 << 16, magic, codec, kind, 1000, -1, (short) -1, -1, false);
        Header[] none = {};
        Header[] tags = {header("x-tag", "1"), header("x-tag", "2"), header("o", "3")};
        Header[] nulls = {new RecordHeader("n", (byte[]) null), new RecordHeader("e", new byte[0]), header("", "v")};
        Header[] binary = {new RecordHeader("\u00e9\u6c34", new byte[] {(byte) 0xff, 0, (byte) 0x80})};
        append(builder, magic, 1000, TIME, bytes("k0"), bytes("v0"), none);
        append(builder, magic, 1001, TIME - 5000, null, new byte[0], tags);
        append(builder, magic, 1002, -1, new byte[0], null, nulls);
        append(builder, magic, 1003, TIME + 86_400_000L, new byte[] {0, (byte) 0xff}, bytes(text(3, 300)), binary);
        append(builder, magic, 1004, TIME + 1, bytes(text(4, 70)), bytes("{\"a\":[1,2,3]}"), none);
        return builder.build().buffer();
    }

    static ByteBuffer gaps(int magic, String codec, TimestampType kind) throws Exception {
        MemoryRecordsBuilder builder = builder(1 << 16, magic, codec, kind, 5_000_000_000L, -1, (short) -1, -1, false);
        for (long offset : new long[] {5_000_000_000L, 5_000_000_003L, 5_000_000_300L}) {
            append(builder, magic, offset, TIME + offset, bytes("k" + offset), bytes("v" + offset), new Header[0]);
        }
        return builder.build().buffer();
    }

    static ByteBuffer large(int magic, String codec, TimestampType kind) throws Exception {
        MemoryRecordsBuilder builder = builder(1 << 20, magic, codec, kind, 7, -1, (short) -1, -1, false);
        for (int n = 0; n < 24; n++) {
            append(builder, magic, 7 + n, TIME + n, bytes("key " + n), bytes(text(n, 6000)), new Header[0]);
        }
        return builder.build().buffer();
    }

    /** A first record without a time, so that the batch's base timestamp is -1. */
    static void untimed() throws Exception {
        MemoryRecordsBuilder builder =
                builder(1 << 16, 2, "NONE", TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false);
        append(builder, 2, 0, -1, null, bytes("a"), new Header[0]);
        append(builder, 2, 1, TIME, null, bytes("b"), new Header[0]);
        append(builder, 2, 2, -1, null, bytes("c"), new Header[0]);
        write("v2-untimed-first", "base timestamp -1", builder.build().buffer());
    }

    static void transactions() throws Exception {
        ByteBuffer all = ByteBuffer.allocate(1 << 16);
        for (int n = 0; n < 2; n++) {
            MemoryRecordsBuilder builder =
                    builder(1 << 16, 2, "LZ4", TimestampType.CREATE_TIME, n * 3, 4_000_000_000L, (short) 12, n * 2, true);
            append(builder, 2, n * 3, TIME, bytes("k"), bytes("first of " + n), new Header[0]);
            append(builder, 2, n * 3 + 1, TIME, bytes("k"), bytes("second of " + n), new Header[0]);
            all.put(builder.build().buffer());
            ControlRecordType end = n == 0 ? ControlRecordType.ABORT : ControlRecordType.COMMIT;
            all.put(MemoryRecords.withEndTransactionMarker(n * 3 + 2, TIME + 9, 5, 4_000_000_000L, (short) 12,
                    new EndTransactionMarker(end, 33)).buffer());
        }
        all.flip();
        write("v2-transactions", "one aborted and one committed transaction, and their markers", all);
    }

    static void emptied() throws Exception {
        ByteBuffer all = ByteBuffer.allocate(1 << 10);
        DefaultRecordBatch.writeEmptyHeader(all, (byte) 2, 77, (short) 3, 10, 100, 119, 8, TimestampType.CREATE_TIME, TIME,
                false, false);
        DefaultRecordBatch.writeEmptyHeader(all, (byte) 2, 77, (short) 3, -1, 120, 120, 8, TimestampType.CREATE_TIME, TIME,
                true, true);
        all.flip();
        write("v2-emptied", "a batch and a marker that compaction has emptied", all);
    }

    /** Every magic in one answer, and a last batch that the byte limit of a fetch cut off. */
    static void mixed() throws Exception {
        ByteBuffer all = ByteBuffer.allocate(1 << 18);
        all.put(small(0, "NONE", TimestampType.NO_TIMESTAMP_TYPE));
        all.put(gaps(1, "GZIP", TimestampType.CREATE_TIME));
        all.put(small(2, "LZ4", TimestampType.CREATE_TIME));
        ByteBuffer last = small(2, "NONE", TimestampType.CREATE_TIME);
        last.limit(last.limit() - 40);
        all.put(last);
        all.flip();
        write("mixed-cut-off", "magic 0, 1 and 2 in one set whose last batch is cut off by 40 bytes", all);
    }

    static void append(MemoryRecordsBuilder builder, int magic, long offset, long time, byte[] key, byte[] value,
            Header[] headers) {
        builder.appendWithOffset(offset, time, key, value, magic == 2 ? headers : new Header[0]);
    }

    /** The builder's factory takes a CompressionType in older clients and a Compression in newer ones. */
    static MemoryRecordsBuilder builder(int size, int magic, String codec, TimestampType kind, long baseOffset,
            long producerId, short producerEpoch, int baseSequence, boolean transactional) throws Exception {
        for (Method method : MemoryRecords.class.getMethods()) {
            Class<?>[] types = method.getParameterTypes();
            if (method.getName().equals("builder") && types.length == 11) {
                return (MemoryRecordsBuilder) method.invoke(null, ByteBuffer.allocate(size), (byte) magic,
                        codec(codec, types[2]), kind, baseOffset, APPEND_TIME, producerId, producerEpoch, baseSequence,
                        transactional, 6);
            }
        }
        throw new IllegalStateException("no builder with eleven parameters in " + version);
    }

    static Object codec(String name, Class<?> wanted) throws Exception {
        CompressionType type = CompressionType.valueOf(name);
        if (wanted == CompressionType.class) {
            return type;
        }
        Object builder = wanted.getMethod("of", CompressionType.class).invoke(null, type);
        return Class.forName(wanted.getName() + "$Builder").getMethod("build").invoke(builder);
    }

    static Header header(String key, String value) {
        return new RecordHeader(key, bytes(value));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(int seed, int length) {
        StringBuilder text = new StringBuilder();
        for (int n = 0; text.length() < length; n++) {
            text.append("line ").append(n / 4).append(" of record ").append(seed).append(", and so on\n");
        }
        return text.substring(0, length);
    }

    static void write(String name, String what, ByteBuffer bytes) throws Exception {
        byte[] all = new byte[bytes.remaining()];
        bytes.duplicate().get(all);
        List<String> lines = new ArrayList<>();
        lines.add("# " + what);
        lines.add("# written by kafka-clients " + version + " through proto-tests/java/RecordVectors.java");
        lines.add("# the lines that follow are what the same client reads in it, through RecordReader.java");
        for (String line : RecordReader.lines(all)) {
            lines.add("#" + line);
        }
        for (int at = 0; at < all.length; at += 64) {
            lines.add(RecordReader.hex(ByteBuffer.wrap(all, at, Math.min(64, all.length - at))));
        }
        Files.write(folder.resolve(name + "-by-" + version + ".hex"), lines);
    }
}
