// Runs one scenario with the published Go client and prints what it observed, a JSON object a
// line. Usage: driver SCENARIO URL CLUSTER PREFIX. No judgement is made here: the test compares.
// Every channel and client ID starts with PREFIX.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/stan.go"
)

const patience = 20 * time.Second

type observation map[string]any

type session struct {
	url, cluster, prefix, channel string
}

var scenarios = map[string]func(session){
	"publish":         publish,
	"publish_async":   publishAsync,
	"start_positions": startPositions,
	"durable":         durable,
	"queue_group":     queueGroup,
	"redelivery":      redelivery,
	"max_in_flight":   maxInFlight,
	"duplicate_id":    duplicateID,
	"replaced":        replaced,
	"unsubscribe":     unsubscribe,
	"large":           func(s session) { carry(s, bytes.Repeat([]byte("x"), 1024*1024-1024)) },
	"binary":          binary,
	"many_channels":   manyChannels,
}

func main() {
	if len(os.Args) != 5 || scenarios[os.Args[1]] == nil {
		fail("usage: driver SCENARIO URL CLUSTER PREFIX")
	}
	time.AfterFunc(time.Minute, func() { fail("%s did not end in time", os.Args[1]) })
	scenarios[os.Args[1]](session{os.Args[2], os.Args[3], os.Args[4], os.Args[4] + "-channel"})
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func observe(what observation) {
	line, err := json.Marshal(what)
	must(err)
	fmt.Println(string(line))
}

func (s session) dial(name string, options ...stan.Option) (stan.Conn, error) {
	options = append([]stan.Option{stan.NatsURL(s.url)}, options...)
	return stan.Connect(s.cluster, s.prefix+"-"+name, options...)
}

func (s session) connect(name string, options ...stan.Option) stan.Conn {
	sc, err := s.dial(name, options...)
	must(err)
	return sc
}

func (s session) publishCount(sc stan.Conn, first, count int) {
	for n := first; n < first+count; n++ {
		must(sc.Publish(s.channel, []byte(fmt.Sprint(n))))
	}
}

// A feed is a subscription whose messages can be waited for, one by one. Acks are manual, so
// that they are sent before the scenario goes on.
type feed struct {
	stan.Subscription
	messages chan *stan.Msg
}

func (s session) subscribe(sc stan.Conn, acks bool, options ...stan.SubscriptionOption) *feed {
	return subscribeTo(sc, s.channel, "", acks, options...)
}

func subscribeTo(
	sc stan.Conn, channel, group string, acks bool, options ...stan.SubscriptionOption,
) *feed {
	f := &feed{messages: make(chan *stan.Msg, 10000)}
	receive := func(m *stan.Msg) {
		if acks {
			must(m.Ack())
		}
		f.messages <- m
	}
	options = append([]stan.SubscriptionOption{stan.SetManualAckMode()}, options...)
	var err error
	f.Subscription, err = sc.QueueSubscribe(channel, group, receive, options...)
	must(err)
	return f
}

func (f *feed) next(patience time.Duration) *stan.Msg {
	select {
	case m := <-f.messages:
		return m
	case <-time.After(patience):
		return nil
	}
}

func (f *feed) take(count int) []*stan.Msg {
	taken := make([]*stan.Msg, 0, count)
	for len(taken) < count {
		m := f.next(patience)
		if m == nil {
			fail("only %d of %d messages came", len(taken), count)
		}
		taken = append(taken, m)
	}
	return taken
}

// more is 1 when another message comes within the time.
func (f *feed) more(within time.Duration) int {
	if f.next(within) != nil {
		return 1
	}
	return 0
}

func sequences(messages []*stan.Msg) []uint64 {
	list := make([]uint64, 0, len(messages))
	for _, m := range messages {
		list = append(list, m.Sequence)
	}
	return list
}

func all() stan.SubscriptionOption { return stan.DeliverAllAvailable() }

func publish(s session) {
	sc := s.connect("a")
	for _, word := range []string{"one", "two", "three"} {
		observe(observation{"acked": sc.Publish(s.channel, []byte(word)) == nil})
	}
	for _, m := range s.subscribe(sc, true, all()).take(3) {
		observe(observation{
			"sequence": m.Sequence, "data": string(m.Data), "redelivered": m.Redelivered,
		})
	}
	must(sc.Close())
}

func publishAsync(s session) {
	sc := s.connect("a")
	var group sync.WaitGroup
	var lock sync.Mutex
	sent, acked := map[string]bool{}, map[string]bool{}
	for n := 1; n <= 100; n++ {
		group.Add(1)
		guid, err := sc.PublishAsync(s.channel, []byte(fmt.Sprint(n)), func(guid string, err error) {
			lock.Lock()
			acked[guid] = err == nil
			lock.Unlock()
			group.Done()
		})
		must(err)
		sent[guid] = true
	}
	group.Wait()
	count := 0
	for guid := range sent {
		if acked[guid] {
			count++
		}
	}
	observe(observation{"acked": count})
	messages := s.subscribe(sc, true, all()).take(100)
	ordered := true
	for i, m := range messages {
		ordered = ordered && m.Sequence == uint64(i+1)
	}
	observe(observation{"received": len(messages), "ordered": ordered})
	must(sc.Close())
}

func startPositions(s session) {
	sc := s.connect("a")
	s.publishCount(sc, 1, 3)
	time.Sleep(400 * time.Millisecond)
	between := time.Now().Add(-200 * time.Millisecond)
	s.publishCount(sc, 4, 2)
	for _, start := range []struct {
		name   string
		option stan.SubscriptionOption
	}{
		{"all", all()},
		{"last", stan.StartWithLastReceived()},
		{"sequence", stan.StartAtSequence(3)},
		{"time", stan.StartAtTime(between)},
		{"delta", stan.StartAtTimeDelta(time.Hour)},
	} {
		first := s.subscribe(sc, true, start.option).take(1)[0]
		observe(observation{"start": start.name, "sequence": first.Sequence})
	}
	fresh := s.subscribe(sc, true)
	s.publishCount(sc, 6, 1)
	observe(observation{"start": "new", "sequence": fresh.take(1)[0].Sequence})
	must(sc.Close())
}

func durable(s session) {
	sc := s.connect("a")
	first := s.subscribe(sc, true, all(), stan.DurableName("d"))
	s.publishCount(sc, 1, 3)
	observe(observation{"received": sequences(first.take(3))})
	must(sc.Close())
	again := s.connect("a")
	s.publishCount(again, 4, 2)
	second := s.subscribe(again, true, all(), stan.DurableName("d"))
	observe(observation{"resumed": sequences(second.take(2))})
	must(again.Close())
}

func queueGroup(s session) {
	sc := s.connect("a")
	members := []*feed{}
	for n := 0; n < 3; n++ {
		members = append(members, subscribeTo(sc, s.channel, "g", false, all()))
	}
	s.publishCount(sc, 1, 30)
	shares, distinct := []int{}, map[uint64]bool{}
	for _, member := range members {
		share := member.take(10)
		shares = append(shares, len(share))
		for _, m := range share {
			distinct[m.Sequence] = true
		}
	}
	observe(observation{"shares": shares, "distinct": len(distinct)})
	must(sc.Close())
}

func redelivery(s session) {
	sc := s.connect("a")
	f := s.subscribe(sc, false, all(), stan.AckWait(time.Second))
	s.publishCount(sc, 1, 1)
	for _, m := range f.take(3) {
		observe(observation{"redelivered": m.Redelivered, "count": m.RedeliveryCount})
		if m.RedeliveryCount == 2 {
			must(m.Ack())
		}
	}
	observe(observation{"after_ack": f.more(1500 * time.Millisecond)})
	must(sc.Close())
}

func maxInFlight(s session) {
	sc := s.connect("a")
	f := s.subscribe(sc, false, all(), stan.MaxInflight(5))
	s.publishCount(sc, 1, 10)
	before := f.take(5)
	observe(observation{"before_acks": sequences(before), "more": f.more(300 * time.Millisecond)})
	for _, m := range before {
		must(m.Ack())
	}
	observe(observation{"after_acks": sequences(f.take(5))})
	must(sc.Close())
}

func duplicateID(s session) {
	sc := s.connect("a")
	if _, err := s.dial("a"); err != nil {
		observe(observation{"refused": err.Error()})
	}
	must(sc.Close())
}

func replaced(s session) {
	lost := make(chan error, 1)
	s.connect("a", stan.Pings(1, 10), stan.SetConnectionLostHandler(
		func(_ stan.Conn, reason error) { lost <- reason }))
	other := s.connect("b")
	// Close the client behind its back: CloseRequest{clientID} by hand.
	victim := s.prefix + "-a"
	request := append([]byte{0x0a, byte(len(victim))}, victim...)
	_, err := other.NatsConn().Request("_STAN.close."+s.cluster, request, 5*time.Second)
	must(err)
	select {
	case reason := <-lost:
		observe(observation{"lost": reason.Error()})
	case <-time.After(patience):
	}
	must(other.Close())
}

func unsubscribe(s session) {
	sc := s.connect("a")
	options := []stan.SubscriptionOption{all(), stan.DurableName("d")}
	first := s.subscribe(sc, true, options...)
	s.publishCount(sc, 1, 2)
	observe(observation{"received": sequences(first.take(2))})
	must(first.Close())
	s.publishCount(sc, 3, 1)
	second := s.subscribe(sc, true, options...)
	observe(observation{"after_close": sequences(second.take(1))})
	must(second.Unsubscribe())
	third := s.subscribe(sc, true, options...)
	observe(observation{"after_unsubscribe": sequences(third.take(3))})
	must(sc.Close())
}

func carry(s session, data []byte) {
	sc := s.connect("a")
	must(sc.Publish(s.channel, data))
	received := s.subscribe(sc, true, all()).take(1)[0].Data
	digest := sha256.Sum256(received)
	observe(observation{
		"bytes":  len(received),
		"digest": hex.EncodeToString(digest[:]),
		"same":   bytes.Equal(data, received),
	})
	must(sc.Close())
}

func binary(s session) {
	data := make([]byte, 256)
	for n := range data {
		data[n] = byte(n)
	}
	carry(s, data)
}

func manyChannels(s session) {
	sc := s.connect("a")
	acks := make(chan error, 1000)
	for n := 0; n < 1000; n++ {
		name := fmt.Sprintf("%s.%d", s.channel, n)
		_, err := sc.PublishAsync(name, []byte(name), func(_ string, err error) { acks <- err })
		must(err)
	}
	acked, received := 0, 0
	for n := 0; n < 1000; n++ {
		if <-acks == nil {
			acked++
		}
	}
	observe(observation{"acked": acked})
	for n := 0; n < 1000; n++ {
		name := fmt.Sprintf("%s.%d", s.channel, n)
		m := subscribeTo(sc, name, "", true, all()).take(1)[0]
		if string(m.Data) == name && m.Sequence == 1 {
			received++
		}
	}
	observe(observation{"received": received})
	must(sc.Close())
}
