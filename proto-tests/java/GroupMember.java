import java.lang.reflect.Method;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/**
 * A member of a group with Kafka's own consumer, which prints the lines of examples/group.rs.
 *
 * <p>Arguments: servers, group, topics with commas, properties as name=value. Compiles against every kafka-clients from 0.11 on.
 */
public final class GroupMember {
    private static final long COMMIT_MS = 500;
    private static KafkaConsumer<byte[], byte[]> consumer;
    private static final Map<TopicPartition, OffsetAndMetadata> work = new HashMap<>();

    private static synchronized void say(String line) {
        System.out.println(System.currentTimeMillis() + " " + line);
        System.out.flush();
    }

    private static String list(Collection<TopicPartition> partitions) {
        TreeSet<String> names = new TreeSet<>();
        for (TopicPartition p : partitions) names.add(p.toString());
        return names.isEmpty() ? "-" : String.join(",", names);
    }

    private static void commit(Collection<TopicPartition> of) {
        Map<TopicPartition, OffsetAndMetadata> due = new HashMap<>(work);
        if (of != null) due.keySet().retainAll(of);
        if (due.isEmpty()) return;
        try {
            consumer.commitSync(due);
            due.forEach((p, o) -> say("committed " + p.topic() + " " + p.partition() + " " + o.offset()));
            work.keySet().removeAll(due.keySet());
        } catch (WakeupException e) {
            throw e;
        } catch (RuntimeException e) {
            say("fenced " + e);
        }
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[1]);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.poll.records", "2000");
        String bytes = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        properties.put("key.deserializer", bytes);
        properties.put("value.deserializer", bytes);
        long pause = 0;
        for (int i = 3; i < args.length; i++) {
            int at = args[i].indexOf('=');
            String name = args[i].substring(0, at), value = args[i].substring(at + 1);
            if (name.equals("pause.ms")) pause = Long.parseLong(value);
            else properties.put(name, value);
        }
        consumer = new KafkaConsumer<>(properties);
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                ended.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        Method poll;
        Object patience;
        try {
            poll = KafkaConsumer.class.getMethod("poll", Duration.class);
            patience = Duration.ofMillis(200);
        } catch (NoSuchMethodException e) {
            poll = KafkaConsumer.class.getMethod("poll", long.class);
            patience = 200L;
        }
        consumer.subscribe(Arrays.asList(args[2].split(",")), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                commit(partitions);
                work.keySet().removeAll(partitions);
                say("revoked ? " + list(partitions));
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                say("assigned ? " + list(partitions) + " java java");
            }

            // Since 2.4; before, a loss is a revocation.
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                work.keySet().removeAll(partitions);
                say("lost - " + list(partitions));
            }
        });
        long committed = System.currentTimeMillis();
        try {
            while (true) {
                @SuppressWarnings("unchecked")
                ConsumerRecords<byte[], byte[]> records =
                    (ConsumerRecords<byte[], byte[]>) unwrap(poll, patience);
                for (TopicPartition p : records.partitions()) {
                    List<ConsumerRecord<byte[], byte[]>> some = new ArrayList<>(records.records(p));
                    long first = some.get(0).offset(), next = some.get(some.size() - 1).offset() + 1;
                    say("read " + p.topic() + " " + p.partition() + " " + first + " " + next + " " + some.size());
                    if (pause > 0) Thread.sleep(pause);
                    work.put(p, new OffsetAndMetadata(next));
                }
                if (System.currentTimeMillis() - committed >= COMMIT_MS) {
                    commit(null);
                    committed = System.currentTimeMillis();
                }
            }
        } catch (WakeupException e) {
            commit(null);
            consumer.close();
            say("left");
        } catch (Throwable e) {
            say("failed " + e);
            e.printStackTrace();
        } finally {
            ended.countDown();
        }
    }

    private static Object unwrap(Method poll, Object patience) throws Exception {
        try {
            return poll.invoke(consumer, patience);
        } catch (java.lang.reflect.InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException) throw (RuntimeException) e.getCause();
            throw e;
        }
    }
}
