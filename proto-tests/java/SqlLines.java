import com.aliyun.odps.Instance;
import com.aliyun.odps.Odps;
import com.aliyun.odps.OdpsException;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.data.Record;
import com.aliyun.odps.task.SQLTask;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * Runs one statement a line with odps-sdk-java's SQLTask; what it prints is described in ../python/sql_lines.py. Rows come from
 * SQLTask.getResult.
 */
public class SqlLines {
    private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            options.put(arguments[at], arguments[at + 1]);
        }
        Odps odps = new Odps(new AliyunAccount(options.get("--access-id"), options.get("--access-key")));
        odps.setEndpoint(options.get("--endpoint"));
        odps.setDefaultProject(options.get("--project"));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String sql = JsonParser.parseString(line).getAsString();
            JsonObject answer = new JsonObject();
            try {
                Instance instance = SQLTask.run(odps, sql + ";");
                instance.waitForSuccess(20);
                JsonArray rows = new JsonArray();
                if (sql.toLowerCase().startsWith("select")) {
                    for (Record record : SQLTask.getResult(instance)) {
                        JsonArray row = new JsonArray();
                        for (int column = 0; column < record.getColumnCount(); column++) {
                            Object value = record.get(column);
                            String text = value instanceof byte[] ? new String((byte[]) value, StandardCharsets.UTF_8) : String.valueOf(value);
                            // The result's text spells NULL like this, and the SDK leaves it so.
                            row.add(value == null || text.equals("\\N") ? JsonNull.INSTANCE : new JsonPrimitive(text));
                        }
                        rows.add(row);
                    }
                }
                answer.add("rows", rows);
            } catch (OdpsException failed) {
                answer.addProperty("error", failed.getMessage());
            }
            out.println(GSON.toJson(answer));
        }
        // The SDK leaves threads behind that would keep the program alive.
        System.exit(0);
    }
}
