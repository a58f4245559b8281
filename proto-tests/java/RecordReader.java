import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * Reads record sets with Kafka's own classes and prints what they hold, a JSON line a batch and a record: the form of
 * vectors/records. Checksums are compared first.
 *
 * Arguments: files of raw bytes. The classes moved to another package in 4.x, hence the reflection.
 */
public class RecordReader {
    public static void main(String[] args) throws Exception {
        for (String file : args) {
            System.out.println("file " + Path.of(file).getFileName());
            lines(Files.readAllBytes(Path.of(file))).forEach(System.out::println);
        }
    }

    static List<String> lines(byte[] bytes) throws Exception {
        List<String> lines = new ArrayList<>();
        Method read = type("MemoryRecords").getMethod("readableRecords", ByteBuffer.class);
        Object records = read.invoke(null, ByteBuffer.wrap(bytes));
        for (Object batch : (Iterable<?>) call(records, "batches")) {
            call(batch, "ensureValid");
            lines.add("batch " + showBatch(batch));
            for (Object record : (Iterable<?>) batch) {
                call(record, "ensureValid");
                lines.add("record " + showRecord(record));
            }
        }
        return lines;
    }

    static Class<?> type(String name) throws ClassNotFoundException {
        try {
            return Class.forName("org.apache.kafka.common.record.internal." + name);
        } catch (ClassNotFoundException older) {
            return Class.forName("org.apache.kafka.common.record." + name);
        }
    }

    /** Calls a method without parameters; through an interface, since not all implementing classes are public. */
    static Object call(Object target, String name) throws Exception {
        ArrayDeque<Class<?>> types = new ArrayDeque<>(List.of(target.getClass()));
        while (!types.isEmpty()) {
            Class<?> type = types.pop();
            for (Method method : type.getDeclaredMethods()) {
                boolean named = method.getName().equals(name) && method.getParameterCount() == 0;
                if (named && java.lang.reflect.Modifier.isPublic(type.getModifiers())) {
                    try {
                        return method.invoke(target);
                    } catch (InvocationTargetException thrown) {
                        throw (Exception) thrown.getCause();
                    }
                }
            }
            types.addAll(List.of(type.getInterfaces()));
            if (type.getSuperclass() != null) {
                types.add(type.getSuperclass());
            }
        }
        throw new NoSuchMethodException(target.getClass() + " has no public " + name);
    }

    static String showBatch(Object batch) throws Exception {
        Object codec = call(batch, "compressionType");
        return "{\"magic\":" + call(batch, "magic") + ",\"codec\":\"" + codec.getClass().getField("name").get(codec)
                + "\",\"base_offset\":" + call(batch, "baseOffset") + ",\"last_offset\":" + call(batch, "lastOffset")
                + ",\"next_offset\":" + call(batch, "nextOffset") + ",\"count\":" + call(batch, "countOrNull")
                + ",\"leader_epoch\":" + call(batch, "partitionLeaderEpoch") + ",\"timestamp_type\":\""
                + call(batch, "timestampType") + "\",\"max_timestamp\":" + call(batch, "maxTimestamp")
                + ",\"producer_id\":" + call(batch, "producerId") + ",\"producer_epoch\":" + call(batch, "producerEpoch")
                + ",\"base_sequence\":" + call(batch, "baseSequence") + ",\"transactional\":"
                + call(batch, "isTransactional") + ",\"control\":" + call(batch, "isControlBatch") + ",\"marker\":"
                + marker(batch) + ",\"size\":" + call(batch, "sizeInBytes") + "}";
    }

    static String marker(Object batch) throws Exception {
        if ((boolean) call(batch, "isControlBatch")) {
            for (Object record : (Iterable<?>) batch) {
                Method parse = type("ControlRecordType").getMethod("parse", ByteBuffer.class);
                return "\"" + parse.invoke(null, call(record, "key")) + "\"";
            }
        }
        return null;
    }

    static String showRecord(Object record) throws Exception {
        List<String> headers = new ArrayList<>();
        for (Object header : (Object[]) call(record, "headers")) {
            byte[] key = ((String) call(header, "key")).getBytes(StandardCharsets.UTF_8);
            byte[] value = (byte[]) call(header, "value");
            headers.add("[" + show(ByteBuffer.wrap(key)) + "," + show(value == null ? null : ByteBuffer.wrap(value)) + "]");
        }
        return "{\"offset\":" + call(record, "offset") + ",\"timestamp\":" + call(record, "timestamp") + ",\"key\":"
                + show((ByteBuffer) call(record, "key")) + ",\"value\":" + show((ByteBuffer) call(record, "value"))
                + ",\"headers\":[" + String.join(",", headers) + "]}";
    }

    /** Hexadecimal digits; of long values the length and the CRC-32C. */
    static String show(ByteBuffer bytes) {
        if (bytes == null) {
            return "null";
        }
        if (bytes.remaining() <= 512) {
            return "\"" + hex(bytes) + "\"";
        }
        CRC32C crc = new CRC32C();
        crc.update(bytes.duplicate());
        return "{\"bytes\":" + bytes.remaining() + ",\"crc32c\":" + crc.getValue() + "}";
    }

    static String hex(ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        for (ByteBuffer rest = bytes.duplicate(); rest.hasRemaining();) {
            text.append(String.format("%02x", rest.get()));
        }
        return text.toString();
    }
}
