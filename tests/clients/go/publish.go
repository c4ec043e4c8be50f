// Publishes one message once, however often it has to be sent. Nothing beside Go's standard library.
//
//	go run . URL TOPIC ID PAYLOAD
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	giveUpAfter  = 9 * time.Minute // for dedup.window (10 min) the gateway knows an id again
	longestPause = 10 * time.Second
)

type answer struct {
	Type      string // of a problem
	Detail    string
	Position  *uint64
	State     string
	Duplicate bool // an earlier attempt had come through
}

func publish(base, topic, id, payload string) answer {
	levels := strings.Split(topic, "/")
	for i, level := range levels {
		levels[i] = url.PathEscape(level)
	}
	target := base + "/v1/topics/" + strings.Join(levels, "/")
	end := time.Now().Add(giveUpAfter)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		status, answer, retryAfter := attempt(target, id, payload)
		kind := strings.TrimPrefix(answer.Type, "urn:causeway:problem:")
		switch {
		case status == 200, status == 202, kind == "outcome-pending":
			return answer
		case kind == "dead-lettered", kind == "discarded":
			log.Fatalf("held, not sent again: %s", answer.Detail)
		case status == 0, status == 408, status == 500, status == 502, status == 503: // 0: no answer
		default:
			log.Fatalf("refused for good, %d %s: %s", status, kind, answer.Detail)
		}
		wait := retryAfter + time.Duration(rand.Int63n(int64(pause)))
		if time.Now().Add(wait).After(end) {
			log.Fatal("given up; whether it is stored is unknown")
		}
		log.Printf("%d %s: again in %s", status, kind, wait)
		time.Sleep(wait)
	}
}

var client = http.Client{Timeout: time.Minute}

func attempt(target, id, payload string) (status int, answer answer, retryAfter time.Duration) {
	request, err := http.NewRequest("POST", target, strings.NewReader(payload))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Idempotency-Key", id)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return // not connected, cut off, timed out
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil && response.StatusCode < 300 {
		return // cut off
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return response.StatusCode, answer, time.Duration(seconds) * time.Second
}

func main() {
	answer := publish(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	fmt.Printf("%s, duplicate: %t\n", answer.State, answer.Duplicate)
}
