// Publishes one message at a time with the published Go client until stdin ends, and prints a
// JSON object a line: when each was acknowledged, how long it waited, or that it failed.
// Usage: publisher URL CLUSTER CHANNEL
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/stan.go"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: publisher URL CLUSTER CHANNEL")
		os.Exit(2)
	}
	conn, err := stan.Connect(os.Args[2], "publisher", stan.NatsURL(os.Args[1]),
		stan.Pings(5, 100), stan.ConnectWait(20*time.Second))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan struct{})
	go func() {
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
		}
		close(stop)
	}()
	out := bufio.NewWriter(os.Stdout)
	for number := 0; ; number++ {
		select {
		case <-stop:
			conn.Close()
			return
		default:
		}
		began := time.Now()
		err := conn.Publish(os.Args[3], []byte(strconv.Itoa(number)))
		waited := time.Since(began)
		fmt.Fprintf(out, "{\"number\": %d, \"waited_ms\": %.1f, \"failed\": %t}\n",
			number, float64(waited.Microseconds())/1e3, err != nil)
		out.Flush()
	}
}
