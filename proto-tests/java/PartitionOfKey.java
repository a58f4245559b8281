import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.kafka.common.utils.Utils;

/**
 * Prints where Kafka's own default partitioner puts keys: for each line of standard input, hexadecimal digits of a key, its
 * hash, and its partition among each of the numbers of partitions given as arguments. The formula is that of
 * DefaultPartitioner and, later, of BuiltInPartitioner.
 */
public class PartitionOfKey {
    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            byte[] key = new byte[line.length() / 2];
            for (int at = 0; at < key.length; at++) {
                key[at] = (byte) Integer.parseInt(line.substring(2 * at, 2 * at + 2), 16);
            }
            int hash = Utils.murmur2(key);
            out.append(line);
            for (String partitions : arguments) {
                out.append(' ').append(partition(hash, key, Integer.parseInt(partitions)));
            }
            out.append('\n');
        }
        System.out.print(out);
    }

    static int partition(int hash, byte[] key, int partitions) throws Exception {
        int expected = Utils.toPositive(hash) % partitions;
        try {
            Class<?> builtIn = Class.forName("org.apache.kafka.clients.producer.internals.BuiltInPartitioner");
            Object found = builtIn.getMethod("partitionForKey", byte[].class, int.class).invoke(null, key, partitions);
            if ((int) found != expected) {
                throw new AssertionError("Kafka's formula has changed: " + found + " is not " + expected);
            }
        } catch (ClassNotFoundException older) {
            // Before 3.3: DefaultPartitioner has the formula in line.
        }
        return expected;
    }
}
