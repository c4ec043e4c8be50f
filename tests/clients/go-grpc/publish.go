// Publishes one message once, however often it has to be sent.
//
//	go run . HOST:PORT TOPIC ID PAYLOAD
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	// What protoc-gen-go and protoc-gen-go-grpc make of causeway/v1/gateway.proto.
	causeway "example.invalid/publish/causeway/v1"
)

const (
	giveUpAfter  = 9 * time.Minute // for dedup.window (10 min) the gateway knows an id again
	longestPause = 10 * time.Second
)

// Without a word from the gateway: whether it has the message is unknown.
var unknown = map[codes.Code]bool{
	codes.Unavailable: true, codes.Unknown: true, codes.Internal: true,
	codes.Canceled: true, codes.DeadlineExceeded: true,
}

func publish(gateway causeway.GatewayClient, message *causeway.Message) *causeway.Receipt {
	end := time.Now().Add(giveUpAfter)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		response, err := attempt(gateway, message)
		if err == nil {
			return response.Receipt // Duplicate: an earlier attempt had come through
		}
		refusal := status.Convert(err)
		reason, retryAfter, again := details(refusal)
		switch {
		case reason == "OUTCOME_PENDING": // stored: it will be delivered
			return nil
		case reason == "DEAD_LETTERED", reason == "DISCARDED":
			log.Fatalf("held, not sent again: %s", refusal.Message())
		case !again && !unknown[refusal.Code()]:
			log.Fatalf("refused for good, %s %s: %s", refusal.Code(), reason, refusal.Message())
		}
		wait := retryAfter + time.Duration(rand.Int63n(int64(pause)))
		if time.Now().Add(wait).After(end) {
			log.Fatal("given up; whether it is stored is unknown")
		}
		log.Printf("%s %s: again in %s", refusal.Code(), reason, wait)
		time.Sleep(wait)
	}
}

func attempt(gateway causeway.GatewayClient, message *causeway.Message) (*causeway.PublishResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return gateway.Publish(ctx, &causeway.PublishRequest{Message: message})
}

// What a refusal says for programs: why, and after how long again.
func details(refusal *status.Status) (reason string, retryAfter time.Duration, again bool) {
	for _, detail := range refusal.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		case *errdetails.RetryInfo:
			retryAfter, again = detail.RetryDelay.AsDuration(), true
		}
	}
	return
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	message := &causeway.Message{
		Topic: os.Args[2], Id: os.Args[3], ContentType: "application/json", Payload: []byte(os.Args[4]),
	}
	fmt.Println(publish(causeway.NewGatewayClient(connection), message))
}
