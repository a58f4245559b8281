import com.aliyun.odps.Column;
import com.aliyun.odps.Instance;
import com.aliyun.odps.Odps;
import com.aliyun.odps.PartitionSpec;
import com.aliyun.odps.TableSchema;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.data.ArrayRecord;
import com.aliyun.odps.data.Binary;
import com.aliyun.odps.data.Char;
import com.aliyun.odps.data.IntervalDayTime;
import com.aliyun.odps.data.IntervalYearMonth;
import com.aliyun.odps.data.Record;
import com.aliyun.odps.data.RecordReader;
import com.aliyun.odps.data.RecordWriter;
import com.aliyun.odps.data.SimpleJsonValue;
import com.aliyun.odps.data.SimpleStruct;
import com.aliyun.odps.data.Struct;
import com.aliyun.odps.data.Varchar;
import com.aliyun.odps.task.SQLTask;
import com.aliyun.odps.tunnel.InstanceTunnel;
import com.aliyun.odps.tunnel.TableTunnel;
import com.aliyun.odps.tunnel.io.CompressOption;
import com.aliyun.odps.type.ArrayTypeInfo;
import com.aliyun.odps.type.MapTypeInfo;
import com.aliyun.odps.type.StructTypeInfo;
import com.aliyun.odps.type.TypeInfo;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads and writes tables with odps-sdk-java, JSON lines in and out, values as in ../python/maxcompute.py:
 *
 * <pre>
 * dump --endpoint E --table T [--partition pt=1] [--columns a,b] [--compress true]   a table through the Tunnel
 * dump --endpoint E --sql "select …"                                                a query through the instance tunnel
 * load --endpoint E --table T [--partition pt=1] [--overwrite true] [--blocks n] [--compress true]   from standard input
 * sql  --endpoint E --sql "…"            the task's status and result as {"status", "result"}; exit status 1 when it failed
 * </pre>
 *
 * Common options: --tunnel-endpoint, --project, --access-id, --access-key, --region (signs with V4).
 */
public class MaxComputeTables {
    private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int at = 1; at + 1 < arguments.length; at += 2) {
            options.put(arguments[at], arguments[at + 1]);
        }
        String id = options.getOrDefault("--access-id", "sandbox"), key = options.getOrDefault("--access-key", "sandbox");
        String region = options.get("--region");
        Odps odps = new Odps(region == null ? new AliyunAccount(id, key) : new AliyunAccount(id, key, region));
        odps.setEndpoint(options.get("--endpoint"));
        odps.setDefaultProject(options.getOrDefault("--project", "sandbox"));
        if (options.containsKey("--tunnel-endpoint")) {
            odps.setTunnelEndpoint(options.get("--tunnel-endpoint"));
        }
        switch (arguments[0]) {
            case "dump":
                if (options.containsKey("--sql")) {
                    dumpQuery(odps, options);
                } else {
                    dumpTable(odps, options);
                }
                break;
            case "load":
                load(odps, options);
                break;
            case "stream":
                stream(odps, options);
                break;
            case "sql":
                sql(odps, options);
                break;
            default:
                throw new IllegalArgumentException("dump, load, stream or sql, not " + arguments[0]);
        }
        // The SDK leaves threads behind that would keep the program alive.
        System.exit(0);
    }

    private static void dumpTable(Odps odps, Map<String, String> options) throws Exception {
        TableTunnel tunnel = new TableTunnel(odps);
        String project = odps.getDefaultProject();
        TableTunnel.DownloadSession session = options.containsKey("--partition")
            ? tunnel.createDownloadSession(project, options.get("--table"), new PartitionSpec(options.get("--partition")))
            : tunnel.createDownloadSession(project, options.get("--table"));
        List<Column> columns = session.getSchema().getColumns();
        if (options.containsKey("--columns")) {
            columns = new ArrayList<>();
            for (String name : options.get("--columns").split(",")) {
                columns.add(session.getSchema().getColumn(name));
            }
        }
        head(columns, session.getRecordCount());
        if (session.getRecordCount() == 0) {
            return;
        }
        CompressOption compress = compression(options);
        try (RecordReader reader = session.openRecordReader(0, session.getRecordCount(), compress, columns)) {
            rows(reader, columns, session.getRecordCount());
        }
    }

    private static void dumpQuery(Odps odps, Map<String, String> options) throws Exception {
        Instance instance = SQLTask.run(odps, options.get("--sql"));
        instance.waitForSuccess(50);
        InstanceTunnel.DownloadSession session =
            new InstanceTunnel(odps).createDownloadSession(odps.getDefaultProject(), instance.getId());
        List<Column> columns = session.getSchema().getColumns();
        head(columns, session.getRecordCount());
        if (session.getRecordCount() == 0) {
            return;
        }
        try (RecordReader reader = session.openRecordReader(0, session.getRecordCount())) {
            rows(reader, columns, session.getRecordCount());
        }
    }

    private static void head(List<Column> columns, long count) {
        JsonObject head = new JsonObject();
        JsonArray names = new JsonArray(), types = new JsonArray();
        for (Column column : columns) {
            names.add(column.getName());
            types.add(column.getTypeInfo().getTypeName().toLowerCase());
        }
        head.add("columns", names);
        head.add("types", types);
        head.addProperty("count", count);
        OUT.println(GSON.toJson(head));
    }

    private static void rows(RecordReader reader, List<Column> columns, long announced) throws Exception {
        long count = 0;
        for (Record record = reader.read(); record != null; record = reader.read(), count++) {
            JsonArray row = new JsonArray();
            for (int index = 0; index < columns.size(); index++) {
                row.add(toJson(columns.get(index).getTypeInfo(), ((ArrayRecord) record).get(index)));
            }
            OUT.println(GSON.toJson(row));
        }
        if (count != announced) {
            throw new IllegalStateException(announced + " rows were announced, " + count + " came");
        }
    }

    /** What --compress names; nothing without it. */
    private static CompressOption compression(Map<String, String> options) {
        CompressOption.CompressAlgorithm algorithm;
        switch (options.getOrDefault("--compress", "none")) {
            case "none":
                algorithm = CompressOption.CompressAlgorithm.ODPS_RAW;
                break;
            case "zlib":
                algorithm = CompressOption.CompressAlgorithm.ODPS_ZLIB;
                break;
            case "snappy":
                algorithm = CompressOption.CompressAlgorithm.ODPS_SNAPPY;
                break;
            case "lz4":
                algorithm = CompressOption.CompressAlgorithm.ODPS_LZ4_FRAME;
                break;
            case "zstd":
                algorithm = CompressOption.CompressAlgorithm.ODPS_ZSTD;
                break;
            default:
                throw new IllegalArgumentException("no compression is called " + options.get("--compress"));
        }
        return new CompressOption(algorithm, 1, 0);
    }

    private static void stream(Odps odps, Map<String, String> options) throws Exception {
        TableTunnel.StreamUploadSession session = new TableTunnel(odps)
            .buildStreamUploadSession(odps.getDefaultProject(), options.get("--table"))
            .setPartitionSpec(options.get("--partition"))
            .setCreatePartition(options.containsKey("--create-partition"))
            .setSlotNum(Long.parseLong(options.getOrDefault("--slots", "0")))
            .allowSchemaMismatch(!options.containsKey("--latest-schema"))
            .build();
        TableSchema schema = session.getSchema();
        int packRows = Integer.parseInt(options.getOrDefault("--pack-rows", "1"));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        TableTunnel.StreamRecordPack pack = session.newRecordPack(compression(options));
        long rows = 0, packs = 0;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonElement element = JsonParser.parseString(line);
            if (!element.isJsonArray()) {
                continue;
            }
            ArrayRecord record = (ArrayRecord) session.newRecord();
            fill(record, schema, element.getAsJsonArray());
            pack.append(record);
            rows++;
            if (pack.getRecordCount() >= packRows) {
                pack.flush();
                packs++;
            }
        }
        if (pack.getRecordCount() > 0) {
            pack.flush();
            packs++;
        }
        JsonObject done = new JsonObject();
        done.addProperty("session", session.getId());
        done.addProperty("schema_version", session.getSchemaVersion());
        done.addProperty("rows", rows);
        done.addProperty("packs", packs);
        OUT.println(GSON.toJson(done));
    }

    private static void fill(ArrayRecord record, TableSchema schema, JsonArray values) {
        for (int index = 0; index < schema.getColumns().size(); index++) {
            record.set(index, fromJson(schema.getColumn(index).getTypeInfo(), values.get(index)));
        }
    }

    private static void load(Odps odps, Map<String, String> options) throws Exception {
        TableTunnel tunnel = new TableTunnel(odps);
        String project = odps.getDefaultProject(), table = options.get("--table");
        boolean overwrite = options.containsKey("--overwrite");
        TableTunnel.UploadSession session = options.containsKey("--partition")
            ? tunnel.createUploadSession(project, table, new PartitionSpec(options.get("--partition")), overwrite)
            : tunnel.createUploadSession(project, table, overwrite);
        int blocks = Integer.parseInt(options.getOrDefault("--blocks", "1"));
        TableSchema schema = session.getSchema();
        List<RecordWriter> writers = new ArrayList<>();
        Long[] ids = new Long[blocks];
        for (int block = 0; block < blocks; block++) {
            ids[block] = (long) block;
            writers.add(options.containsKey("--compress")
                ? session.openRecordWriter(block, compression(options))
                : session.openRecordWriter(block));
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        long rows = 0;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonElement element = JsonParser.parseString(line);
            if (!element.isJsonArray()) {
                continue;
            }
            JsonArray values = element.getAsJsonArray();
            ArrayRecord record = (ArrayRecord) session.newRecord();
            fill(record, schema, values);
            writers.get((int) (rows % blocks)).write(record);
            rows++;
        }
        for (RecordWriter writer : writers) {
            writer.close();
        }
        session.commit(ids);
        JsonObject done = new JsonObject();
        done.addProperty("upload_id", session.getId());
        done.addProperty("rows", rows);
        OUT.println(GSON.toJson(done));
    }

    private static void sql(Odps odps, Map<String, String> options) throws Exception {
        Instance instance = SQLTask.run(odps, options.get("--sql"));
        instance.waitForTerminated(50, true);
        String task = instance.getTaskNames().iterator().next();
        JsonObject done = new JsonObject();
        done.addProperty("status", instance.getTaskStatus().get(task).getStatus().toString());
        done.addProperty("result", instance.getTaskResults().get(task));
        OUT.println(GSON.toJson(done));
        if (!instance.isSuccessful()) {
            System.exit(1);
        }
    }

    private static JsonElement toJson(TypeInfo type, Object value) {
        if (value == null) {
            return JsonNull.INSTANCE;
        }
        switch (type.getOdpsType()) {
            case TINYINT:
            case SMALLINT:
            case INT:
            case BIGINT:
                return new JsonPrimitive((Number) value);
            case BOOLEAN:
                return new JsonPrimitive((Boolean) value);
            case FLOAT:
                return member("bits", String.format("%08x", Float.floatToRawIntBits((Float) value)));
            case DOUBLE:
                return member("bits", String.format("%016x", Double.doubleToRawLongBits((Double) value)));
            case DECIMAL:
                return member("decimal", ((BigDecimal) value).toPlainString());
            case BINARY:
                return member("bytes_hex", hex(((Binary) value).data()));
            case JSON:
                return member("json_text", value.toString());
            case DATE:
                return number("epoch_days", ((LocalDate) value).toEpochDay());
            case DATETIME:
                return number("epoch_millis", ((ZonedDateTime) value).toInstant().toEpochMilli());
            case TIMESTAMP:
                return instant(((Instant) value).getEpochSecond(), ((Instant) value).getNano());
            case TIMESTAMP_NTZ: {
                Instant at = ((LocalDateTime) value).toInstant(ZoneOffset.UTC);
                return instant(at.getEpochSecond(), at.getNano());
            }
            case INTERVAL_DAY_TIME: {
                IntervalDayTime interval = (IntervalDayTime) value;
                return instant(interval.getTotalSeconds(), interval.getNanos());
            }
            case INTERVAL_YEAR_MONTH:
                return number("months", ((IntervalYearMonth) value).getTotalMonths());
            case ARRAY: {
                JsonArray list = new JsonArray();
                for (Object each : (List<?>) value) {
                    list.add(toJson(((ArrayTypeInfo) type).getElementTypeInfo(), each));
                }
                return list;
            }
            case MAP: {
                JsonArray pairs = new JsonArray();
                MapTypeInfo map = (MapTypeInfo) type;
                for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                    JsonArray pair = new JsonArray();
                    pair.add(toJson(map.getKeyTypeInfo(), entry.getKey()));
                    pair.add(toJson(map.getValueTypeInfo(), entry.getValue()));
                    pairs.add(pair);
                }
                return wrap("map", pairs);
            }
            case STRUCT: {
                JsonArray pairs = new JsonArray();
                StructTypeInfo struct = (StructTypeInfo) type;
                for (int index = 0; index < struct.getFieldCount(); index++) {
                    JsonArray pair = new JsonArray();
                    pair.add(struct.getFieldNames().get(index));
                    pair.add(toJson(struct.getFieldTypeInfos().get(index), ((Struct) value).getFieldValue(index)));
                    pairs.add(pair);
                }
                return wrap("struct", pairs);
            }
            case CHAR:
                return new JsonPrimitive(((Char) value).getValue());
            case VARCHAR:
                return new JsonPrimitive(((Varchar) value).getValue());
            default:
                return text(value instanceof byte[] ? (byte[]) value : value.toString().getBytes(StandardCharsets.UTF_8));
        }
    }

    private static Object fromJson(TypeInfo type, JsonElement json) {
        if (json.isJsonNull()) {
            return null;
        }
        switch (type.getOdpsType()) {
            case TINYINT:
                return json.getAsByte();
            case SMALLINT:
                return json.getAsShort();
            case INT:
                return json.getAsInt();
            case BIGINT:
                return json.getAsLong();
            case BOOLEAN:
                return json.getAsBoolean();
            case FLOAT:
                return Float.intBitsToFloat(Integer.parseUnsignedInt(member(json, "bits").getAsString(), 16));
            case DOUBLE:
                return Double.longBitsToDouble(Long.parseUnsignedLong(member(json, "bits").getAsString(), 16));
            case DECIMAL:
                return new BigDecimal(member(json, "decimal").getAsString());
            case BINARY:
                return new Binary(unhex(member(json, "bytes_hex").getAsString()));
            case JSON:
                return new SimpleJsonValue(member(json, "json_text").getAsString());
            case DATE:
                return LocalDate.ofEpochDay(member(json, "epoch_days").getAsLong());
            case DATETIME:
                return Instant.ofEpochMilli(member(json, "epoch_millis").getAsLong()).atZone(ZoneOffset.UTC);
            case TIMESTAMP:
                return Instant.ofEpochSecond(member(json, "seconds").getAsLong(), member(json, "nanos").getAsLong());
            case TIMESTAMP_NTZ:
                return LocalDateTime.ofEpochSecond(
                    member(json, "seconds").getAsLong(), member(json, "nanos").getAsInt(), ZoneOffset.UTC);
            case INTERVAL_DAY_TIME:
                return new IntervalDayTime(member(json, "seconds").getAsLong(), member(json, "nanos").getAsInt());
            case INTERVAL_YEAR_MONTH:
                return new IntervalYearMonth(member(json, "months").getAsInt());
            case ARRAY: {
                List<Object> list = new ArrayList<>();
                for (JsonElement each : json.getAsJsonArray()) {
                    list.add(fromJson(((ArrayTypeInfo) type).getElementTypeInfo(), each));
                }
                return list;
            }
            case MAP: {
                Map<Object, Object> map = new LinkedHashMap<>();
                MapTypeInfo info = (MapTypeInfo) type;
                for (JsonElement pair : member(json, "map").getAsJsonArray()) {
                    JsonArray both = pair.getAsJsonArray();
                    map.put(fromJson(info.getKeyTypeInfo(), both.get(0)), fromJson(info.getValueTypeInfo(), both.get(1)));
                }
                return map;
            }
            case STRUCT: {
                StructTypeInfo info = (StructTypeInfo) type;
                List<Object> values = new ArrayList<>();
                JsonArray pairs = member(json, "struct").getAsJsonArray();
                for (int index = 0; index < info.getFieldCount(); index++) {
                    values.add(fromJson(info.getFieldTypeInfos().get(index), pairs.get(index).getAsJsonArray().get(1)));
                }
                return new SimpleStruct(info, values);
            }
            case CHAR:
                return new Char(json.getAsString());
            case VARCHAR:
                return new Varchar(json.getAsString());
            default:
                return json.isJsonObject() ? unhex(member(json, "bytes_hex").getAsString()) : json.getAsString();
        }
    }

    /** Text, or its bytes in hexadecimal when it is not UTF-8. */
    private static JsonElement text(byte[] bytes) {
        try {
            return new JsonPrimitive(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString());
        } catch (CharacterCodingException notText) {
            return member("bytes_hex", hex(bytes));
        }
    }

    private static JsonElement member(JsonElement json, String name) {
        return json.getAsJsonObject().get(name);
    }

    private static JsonObject member(String name, String value) {
        return wrap(name, new JsonPrimitive(value));
    }

    private static JsonObject number(String name, long value) {
        return wrap(name, new JsonPrimitive(value));
    }

    private static JsonObject instant(long seconds, int nanos) {
        JsonObject both = number("seconds", seconds);
        both.addProperty("nanos", nanos);
        return both;
    }

    private static JsonObject wrap(String name, JsonElement value) {
        JsonObject object = new JsonObject();
        object.add(name, value);
        return object;
    }

    private static String hex(byte[] bytes) {
        StringBuilder out = new StringBuilder();
        for (byte each : bytes) {
            out.append(String.format("%02x", each));
        }
        return out.toString();
    }

    private static byte[] unhex(String text) {
        byte[] out = new byte[text.length() / 2];
        for (int at = 0; at < out.length; at++) {
            out[at] = (byte) Integer.parseInt(text.substring(2 * at, 2 * at + 2), 16);
        }
        return out;
    }
}
