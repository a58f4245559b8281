import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.utils.internals.BufferSupplier;

/** Cases that only recent clients can write: real compaction with a delete horizon, and zstd with its largest window. */
public class RecentRecordVectors {
    public static void main(String[] args) throws Exception {
        RecordVectors.folder = Path.of(args[0]);
        RecordVectors.version = args[1];
        for (Compression codec : new Compression[] {Compression.NONE, Compression.zstd().build()}) {
            RecordVectors.write("v2-" + codec.type().name + "-compacted",
                    "what the log cleaner leaves: gaps, a tombstone, and its delete horizon as base timestamp",
                    compacted(codec));
        }
        ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
        try (MemoryRecordsBuilder builder = MemoryRecords.builder(buffer, (byte) 2, Compression.zstd().level(22).build(),
                TimestampType.CREATE_TIME, 0L)) {
            for (int n = 0; n < 24; n++) {
                builder.append(RecordVectors.TIME, RecordVectors.bytes("k" + n), RecordVectors.bytes(RecordVectors.text(n, 6000)));
            }
            RecordVectors.write("v2-zstd-level-22", "a frame that asks for a window of 128 MiB", builder.build().buffer());
        }
    }

    /** Drops every record whose key is not kept, as the log cleaner does. */
    static ByteBuffer compacted(Compression codec) {
        ByteBuffer before = ByteBuffer.allocate(1 << 16);
        MemoryRecordsBuilder builder =
                MemoryRecords.builder(before, (byte) 2, codec, TimestampType.CREATE_TIME, 40L, -1L, 3);
        for (int n = 0; n < 8; n++) {
            byte[] value = n == 5 ? null : RecordVectors.bytes("v" + n);
            builder.append(RecordVectors.TIME + n, RecordVectors.bytes("k" + n), value, new Header[0]);
        }
        ByteBuffer after = ByteBuffer.allocate(1 << 16);
        long now = RecordVectors.TIME + 1_000_000;
        builder.build().filterTo(new MemoryRecords.RecordFilter(now, 86_400_000) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, Record record) {
                return record.offset() % 2 == 1 && record.offset() < 47;
            }
        }, after, BufferSupplier.create(), 1 << 20);
        after.flip();
        return after;
    }
}
