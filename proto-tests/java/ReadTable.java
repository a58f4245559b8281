import com.aliyun.odps.Column;
import com.aliyun.odps.Odps;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.data.Record;
import com.aliyun.odps.data.RecordReader;
import com.aliyun.odps.tunnel.TableTunnel;
import java.util.List;

/**
 * Reads a table with odps-sdk-java's TableTunnel and prints it: one JSON array a line, first the column names, then the rows.
 * A cell is null, or the bytes of a STRING in hexadecimal, so that nothing is lost on the way to the reader of this output.
 */
public class ReadTable {
    public static void main(String[] arguments) throws Exception {
        String endpoint = arguments[0], tunnelEndpoint = arguments[1], project = arguments[2];
        Odps odps = new Odps(new AliyunAccount(arguments[3], arguments[4]));
        odps.setEndpoint(endpoint);
        odps.setDefaultProject(project);
        TableTunnel tunnel = new TableTunnel(odps);
        tunnel.setEndpoint(tunnelEndpoint);
        TableTunnel.DownloadSession session = tunnel.createDownloadSession(project, arguments[5]);
        List<Column> columns = session.getSchema().getColumns();
        StringBuilder line = new StringBuilder();
        for (Column column : columns) {
            line.append(line.length() == 0 ? "" : ", ").append('"').append(column.getName()).append('"');
        }
        System.out.println("[" + line + "]");
        if (session.getRecordCount() == 0) {
            return;
        }
        long count = 0;
        try (RecordReader reader = session.openRecordReader(0, session.getRecordCount())) {
            for (Record record = reader.read(); record != null; record = reader.read(), count++) {
                line.setLength(0);
                for (int index = 0; index < columns.size(); index++) {
                    line.append(index == 0 ? "" : ", ").append(cell(record.getBytes(index)));
                }
                System.out.println("[" + line + "]");
            }
        }
        if (count != session.getRecordCount()) {
            throw new IllegalStateException("the session announced " + session.getRecordCount() + " rows, " + count + " came");
        }
    }

    private static String cell(byte[] bytes) {
        if (bytes == null) {
            return "null";
        }
        StringBuilder hex = new StringBuilder("\"");
        for (byte each : bytes) {
            hex.append(String.format("%02x", each));
        }
        return hex.append('"').toString();
    }
}
