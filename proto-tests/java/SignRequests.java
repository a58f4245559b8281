import com.aliyun.odps.account.AliyunRequestSigner;
import com.aliyun.odps.commons.transport.Request;
import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Signs requests with odps-sdk-java's own signer. Input and output are those of ../python/sign_requests.py: JSON lines of {"method",
 * "endpoint", "target", "headers", "access_id", "access_key", "region"}, and {"authorization"} for each.
 */
public class SignRequests {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject asked = JsonParser.parseString(line).getAsJsonObject();
            Request request = new Request();
            request.setMethod(Request.Method.valueOf(asked.get("method").getAsString()));
            Map<String, String> headers = new LinkedHashMap<>();
            for (Map.Entry<String, JsonElement> header : asked.getAsJsonObject("headers").entrySet()) {
                // The SDK looks its own headers up by the names that it gives them.
                String name = header.getKey();
                switch (name) {
                    case "date": name = "Date"; break;
                    case "content-type": name = "Content-Type"; break;
                    case "content-md5": name = "Content-MD5"; break;
                    default: break;
                }
                headers.put(name, header.getValue().getAsString());
            }
            request.setHeaders(headers);
            String target = asked.get("target").getAsString();
            int mark = target.indexOf('?');
            Map<String, String> parameters = new LinkedHashMap<>();
            for (String pair : mark < 0 ? new String[0] : target.substring(mark + 1).split("&")) {
                int equals = pair.indexOf('=');
                parameters.put(
                    decoded(equals < 0 ? pair : pair.substring(0, equals)), equals < 0 ? null : decoded(pair.substring(equals + 1)));
            }
            request.setParameters(parameters);
            String path = decoded(mark < 0 ? target : target.substring(0, mark));
            AliyunRequestSigner signer = asked.get("region").isJsonNull()
                ? new AliyunRequestSigner(asked.get("access_id").getAsString(), asked.get("access_key").getAsString())
                : new AliyunRequestSigner(asked.get("access_id").getAsString(), asked.get("access_key").getAsString(),
                    asked.get("region").getAsString());
            JsonObject answer = new JsonObject();
            answer.addProperty("authorization", signer.getSignature(path, request));
            System.out.println(new Gson().newBuilder().disableHtmlEscaping().create().toJson(answer));
        }
    }

    /** Percent-escapes only: a plus stands for itself, as where the SDK had the value before it wrote a URL. */
    private static String decoded(String text) throws Exception {
        return URLDecoder.decode(text.replace("+", "%2B"), "UTF-8");
    }
}
