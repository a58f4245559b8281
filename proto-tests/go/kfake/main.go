// Independent brokers (kfake of franz-go) that answer with errors on demand.
//
// Each line of standard input is "API CODE TIMES": a cluster of its own is started, topic "t" gets records through
// franz-go's own producer, and from then on the first TIMES requests of API that name something are answered with CODE (-1
// times: all of them). The line that comes back is the cluster's address. "count ADDRESS" prints how often that was.
// The end of the input ends everything.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	topic      = "t"
	partitions = 2
	records    = 12
)

func main() {
	counts := make(map[string]*atomic.Int64)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var address string
		if _, err := fmt.Sscanf(lines.Text(), "count %s", &address); err == nil {
			fmt.Println(counts[address].Load())
			continue
		}
		var api, code int16
		var times int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %d", &api, &code, &times); err != nil {
			fail(fmt.Errorf("line %q: %w", lines.Text(), err))
		}
		address, count := start(api, code, times)
		counts[address] = count
		fmt.Println(address)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func start(api, code int16, times int64) (string, *atomic.Int64) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(0), kfake.SeedTopics(partitions, topic))
	if err != nil {
		fail(err)
	}
	address := cluster.ListenAddrs()[0]
	produce(address)
	count := new(atomic.Int64)
	cluster.ControlKey(api, func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if times >= 0 && count.Load() >= times {
			return nil, nil, false
		}
		response := refuse(request, code, address)
		if response == nil {
			return nil, nil, false
		}
		count.Add(1)
		return response, nil, true
	})
	return address, count
}

func produce(address string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		fail(err)
	}
	defer client.Close()
	for n := range records {
		record := &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte("record " + strconv.Itoa(n))}
		if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
			fail(err)
		}
	}
}

// refuse is the answer to a request with a code wherever it stands in it; nil for a request about nothing.
func refuse(request kmsg.Request, code int16, address string) kmsg.Response {
	response := request.ResponseKind()
	switch request := request.(type) {
	case *kmsg.MetadataRequest:
		response := response.(*kmsg.MetadataResponse)
		if len(request.Topics) == 0 {
			return nil
		}
		host, port, _ := net.SplitHostPort(address)
		number, _ := strconv.Atoi(port)
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port = 0, host, int32(number)
		response.Brokers = append(response.Brokers, broker)
		response.ControllerID = 0
		for _, asked := range request.Topics {
			answer := kmsg.NewMetadataResponseTopic()
			answer.Topic, answer.TopicID, answer.ErrorCode = asked.Topic, asked.TopicID, code
			response.Topics = append(response.Topics, answer)
		}
	case *kmsg.ListOffsetsRequest:
		response := response.(*kmsg.ListOffsetsResponse)
		for _, asked := range request.Topics {
			answer := kmsg.NewListOffsetsResponseTopic()
			answer.Topic = asked.Topic
			for _, asked := range asked.Partitions {
				partition := kmsg.NewListOffsetsResponseTopicPartition()
				partition.Partition, partition.ErrorCode = asked.Partition, code
				answer.Partitions = append(answer.Partitions, partition)
			}
			response.Topics = append(response.Topics, answer)
		}
	case *kmsg.FetchRequest:
		response := response.(*kmsg.FetchResponse)
		if len(request.Topics) == 0 {
			return nil
		}
		// FETCH_SESSION_ID_NOT_FOUND and INVALID_FETCH_SESSION_EPOCH are about the request as a whole.
		if code == 70 || code == 71 {
			response.ErrorCode = code
			return response
		}
		for _, asked := range request.Topics {
			answer := kmsg.NewFetchResponseTopic()
			answer.Topic, answer.TopicID = asked.Topic, asked.TopicID
			for _, asked := range asked.Partitions {
				partition := kmsg.NewFetchResponseTopicPartition()
				partition.Partition, partition.ErrorCode = asked.Partition, code
				partition.HighWatermark, partition.LastStableOffset, partition.LogStartOffset = -1, -1, -1
				answer.Partitions = append(answer.Partitions, partition)
			}
			response.Topics = append(response.Topics, answer)
		}
	case *kmsg.FindCoordinatorRequest:
		response := response.(*kmsg.FindCoordinatorResponse)
		response.ErrorCode, response.NodeID, response.Port = code, -1, -1
		for _, key := range request.CoordinatorKeys {
			answer := kmsg.NewFindCoordinatorResponseCoordinator()
			answer.Key, answer.ErrorCode, answer.NodeID, answer.Port = key, code, -1, -1
			response.Coordinators = append(response.Coordinators, answer)
		}
	case *kmsg.OffsetFetchRequest:
		response := response.(*kmsg.OffsetFetchResponse)
		response.ErrorCode = code
		for _, group := range request.Groups {
			answer := kmsg.NewOffsetFetchResponseGroup()
			answer.Group, answer.ErrorCode = group.Group, code
			response.Groups = append(response.Groups, answer)
		}
	case *kmsg.OffsetCommitRequest:
		response := response.(*kmsg.OffsetCommitResponse)
		for _, asked := range request.Topics {
			answer := kmsg.NewOffsetCommitResponseTopic()
			answer.Topic, answer.TopicID = asked.Topic, asked.TopicID
			for _, asked := range asked.Partitions {
				partition := kmsg.NewOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = asked.Partition, code
				answer.Partitions = append(answer.Partitions, partition)
			}
			response.Topics = append(response.Topics, answer)
		}
	default:
		return nil
	}
	return response
}
