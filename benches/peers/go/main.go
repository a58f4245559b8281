// Reads a topic to its last record with franz-go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	started := time.Now()
	server := flag.String("bootstrap-server", "", "host:port")
	topic := flag.String("topic", "", "the topic")
	partitions := flag.Int("partitions", 1, "how many partitions it has")
	wanted := flag.Int64("records", 0, "how many records to read")
	idle := flag.Int("idle", 0, "seconds to wait at the end of the topic instead")
	flag.Parse()
	at := kgo.NewOffset().AtStart()
	if *idle > 0 {
		at = kgo.NewOffset().AtEnd()
	}
	offsets := map[int32]kgo.Offset{}
	for i := 0; i < *partitions; i++ {
		offsets[int32(i)] = at
	}
	// The CRC is checked unless one asks for the contrary. The wait is that of the other clients; its own is 5 seconds.
	client, err := kgo.NewClient(
		kgo.ClientID("franz-go"),
		kgo.SeedBrokers(*server),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{*topic: offsets}),
		kgo.FetchMaxBytes(50<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMinBytes(1),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	if *idle > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(*idle)*time.Second)
		defer stop()
	}
	var records, bytes int64
	var first float64
	for *idle > 0 && ctx.Err() == nil || *idle == 0 && records < *wanted {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if records == 0 {
				first = time.Since(started).Seconds()
			}
			records++
			bytes += int64(len(record.Key) + len(record.Value))
		})
	}
	fmt.Printf("{\"records\": %d, \"bytes\": %d, \"first_record_seconds\": %f}\n", records, bytes, first)
	os.Exit(0)
}
