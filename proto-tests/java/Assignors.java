import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Kafka's own assignors on random memberships, two rounds each: the second after members have come, gone and changed their minds.
 * Prints one line a round, with tabs:
 *
 * <pre>assignor  topics  members  assignments</pre>
 *
 * Topics: {@code name=rack+rack/rack/...}, one part a partition. Members: {@code id|instance|subscription in hex}. Assignments:
 * {@code id|assignment in hex}. Several of each are separated by semicolons. Argument: how many memberships.
 */
public final class Assignors {
    private static String hex(ByteBuffer buffer) {
        StringBuilder text = new StringBuilder();
        ByteBuffer copy = buffer.duplicate();
        while (copy.hasRemaining()) text.append(String.format("%02x", copy.get()));
        return text.toString();
    }

    public static void main(String[] args) {
        int memberships = Integer.parseInt(args[0]);
        for (int seed = 0; seed < memberships; seed++) {
            for (int kind = 0; kind < 4; kind++) one(kind, new Random(seed));
        }
    }

    private static ConsumerPartitionAssignor assignor(int kind) {
        switch (kind) {
            case 0: return new RangeAssignor();
            case 1: return new RoundRobinAssignor();
            case 2: return new StickyAssignor();
            default: return new CooperativeStickyAssignor();
        }
    }

    private static void one(int kind, Random random) {
        boolean racks = random.nextInt(3) == 0;
        boolean equal = random.nextInt(2) == 0;
        Node[] nodes = new Node[4];
        for (int n = 0; n < nodes.length; n++) nodes[n] = new Node(n, "h", 1, racks ? "r" + n % 3 : null);
        Map<String, List<PartitionInfo>> topics = new TreeMap<>();
        int count = 1 + random.nextInt(4);
        for (int t = 0; t < count; t++) {
            String name = "t" + t;
            List<PartitionInfo> partitions = new ArrayList<>();
            int size = 1 + random.nextInt(9);
            for (int p = 0; p < size; p++) {
                int first = random.nextInt(nodes.length);
                Node[] replicas = {nodes[first], nodes[(first + 1 + random.nextInt(3)) % nodes.length]};
                partitions.add(new PartitionInfo(name, p, nodes[first], replicas, replicas));
            }
            topics.put(name, partitions);
        }
        int size = 1 + random.nextInt(6);
        Map<String, List<TopicPartition>> owned = new HashMap<>();
        Map<String, ConsumerPartitionAssignor> own = new HashMap<>();
        Map<String, Integer> generations = new HashMap<>();
        TreeSet<String> ids = new TreeSet<>();
        for (int m = 0; m < size; m++) ids.add("m" + (char) ('a' + random.nextInt(26)) + m);
        Map<String, Integer> tastes = new HashMap<>();
        for (int round = 0; round < 3; round++) {
            if (round > 0) {
                if (random.nextBoolean() && ids.size() > 1) ids.remove(ids.first());
                if (random.nextBoolean()) ids.add("n" + (char) ('a' + random.nextInt(26)) + round);
            }
            List<PartitionInfo> all = new ArrayList<>();
            topics.values().forEach(all::addAll);
            Cluster cluster = new Cluster("c", Arrays.asList(nodes), all, Collections.emptySet(), Collections.emptySet());
            Map<String, Subscription> subscriptions = new TreeMap<>();
            StringBuilder members = new StringBuilder();
            for (String id : ids) {
                int taste = tastes.computeIfAbsent(id, x -> 1 + random.nextInt((1 << count) - 1));
                List<String> wanted = new ArrayList<>();
                for (int t = 0; t < count; t++) if (equal || (taste >> t & 1) == 1) wanted.add("t" + t);
                ConsumerPartitionAssignor assignor = own.computeIfAbsent(id, x -> assignor(kind));
                ByteBuffer data = assignor.subscriptionUserData(new HashSet<>(wanted));
                List<TopicPartition> has = kind == 3 ? owned.getOrDefault(id, List.of()) : List.of();
                Optional<String> rack = racks && random.nextInt(4) > 0 ? Optional.of("r" + random.nextInt(3)) : Optional.empty();
                int generation = generations.getOrDefault(id, -1);
                Subscription subscription = new Subscription(wanted, data, has, generation, rack);
                String instance = id.startsWith("ma") ? "z" + id : "";
                if (!instance.isEmpty()) subscription.setGroupInstanceId(Optional.of(instance));
                members.append(members.length() == 0 ? "" : ";").append(id).append('|').append(instance).append('|');
                ByteBuffer bytes = ConsumerProtocol.serializeSubscription(subscription);
                members.append(hex(bytes));
                // As the leader gets it: what went over the wire.
                Subscription read = ConsumerProtocol.deserializeSubscription(bytes);
                if (!instance.isEmpty()) read.setGroupInstanceId(Optional.of(instance));
                subscriptions.put(id, read);
            }
            Map<String, Assignment> assigned =
                assignor(kind).assign(cluster, new GroupSubscription(subscriptions)).groupAssignment();
            StringBuilder line = new StringBuilder(assignor(kind).name()).append('\t');
            String comma = "";
            for (Map.Entry<String, List<PartitionInfo>> topic : topics.entrySet()) {
                line.append(comma).append(topic.getKey()).append('=');
                comma = ";";
                String slash = "";
                for (PartitionInfo p : topic.getValue()) {
                    Set<String> in = new TreeSet<>();
                    for (Node replica : p.replicas()) if (replica.hasRack()) in.add(replica.rack());
                    line.append(slash).append(String.join("+", in));
                    slash = "/";
                }
            }
            line.append('\t').append(members).append('\t');
            comma = "";
            for (String id : ids) {
                Assignment assignment = assigned.get(id);
                line.append(comma).append(id).append('|').append(hex(ConsumerProtocol.serializeAssignment(assignment)));
                comma = ";";
                owned.put(id, assignment.partitions());
                generations.put(id, round + 1);
                own.get(id).onAssignment(assignment, new ConsumerGroupMetadata("g", round + 1, id, Optional.empty()));
            }
            System.out.println(line);
        }
    }
}
