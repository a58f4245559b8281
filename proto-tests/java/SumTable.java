import com.aliyun.odps.Odps;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.data.Record;
import com.aliyun.odps.data.RecordReader;
import com.aliyun.odps.tunnel.TableTunnel;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * Reads a table with odps-sdk-java's TableTunnel and prints three numbers: rows, the sum of the BIGINT column `amount`, and
 * how many different pairs of `partition1` and `offset` there are.
 */
public class SumTable {
    public static void main(String[] arguments) throws Exception {
        Odps odps = new Odps(new AliyunAccount(arguments[3], arguments[4]));
        odps.setEndpoint(arguments[0]);
        odps.setDefaultProject(arguments[2]);
        TableTunnel tunnel = new TableTunnel(odps);
        tunnel.setEndpoint(arguments[1]);
        TableTunnel.DownloadSession session = tunnel.createDownloadSession(arguments[2], arguments[5]);
        long rows = 0, sum = 0, pairs = 0;
        Map<String, Set<String>> seen = new HashMap<>();
        try (RecordReader reader = session.openRecordReader(0, session.getRecordCount())) {
            for (Record record = reader.read(); record != null; record = reader.read()) {
                rows++;
                sum += record.getBigint("amount");
                if (seen.computeIfAbsent(record.getString("partition1"), any -> new HashSet<>()).add(record.getString("offset"))) {
                    pairs++;
                }
            }
        }
        System.out.println(rows + " " + sum + " " + pairs);
    }
}
