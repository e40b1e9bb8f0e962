// Runs one scenario with the published Java client and prints what it observed, a JSON object a
// line. Usage: Driver SCENARIO URL CLUSTER PREFIX. No judgement is made here: the test compares.
// Every channel and client ID starts with PREFIX. The client hides the redelivery count.

import io.nats.streaming.Message;
import io.nats.streaming.NatsStreaming;
import io.nats.streaming.Options;
import io.nats.streaming.StreamingConnection;
import io.nats.streaming.Subscription;
import io.nats.streaming.SubscriptionOptions;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

public final class Driver {
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private interface Scenario {
    void run() throws Exception;
  }

  private final String url;
  private final String cluster;
  private final String prefix;
  private final String channel;
  private final Map<String, Scenario> scenarios = new HashMap<>();

  private Driver(String url, String cluster, String prefix) {
    this.url = url;
    this.cluster = cluster;
    this.prefix = prefix;
    this.channel = prefix + "-channel";
    scenarios.put("publish", this::publish);
    scenarios.put("publish_async", this::publishAsync);
    scenarios.put("start_positions", this::startPositions);
    scenarios.put("durable", this::durable);
    scenarios.put("queue_group", this::queueGroup);
    scenarios.put("redelivery", this::redelivery);
    scenarios.put("max_in_flight", this::maxInFlight);
    scenarios.put("duplicate_id", this::duplicateId);
    scenarios.put("replaced", this::replaced);
    scenarios.put("unsubscribe", this::unsubscribe);
    scenarios.put("large", this::large);
    scenarios.put("binary", this::binary);
    scenarios.put("many_channels", this::manyChannels);
  }

  public static void main(String[] arguments) throws Exception {
    Driver driver = new Driver(arguments[1], arguments[2], arguments[3]);
    Thread scenario = new Thread(() -> run(driver.scenarios.get(arguments[0])));
    scenario.start();
    scenario.join(60000);
    System.err.println(arguments[0] + " did not end in time");
    Runtime.getRuntime().halt(1);
  }

  private static void run(Scenario scenario) {
    int status = 0;
    try {
      scenario.run();
    } catch (Exception error) {
      error.printStackTrace();
      status = 1;
    }
    System.out.flush();
    Runtime.getRuntime().halt(status); // the client's threads would go on
  }

  private static void observe(String format, Object... values) {
    System.out.println(String.format(format.replace('\'', '"'), values));
  }

  private StreamingConnection connect(String name) throws Exception {
    return NatsStreaming.connect(cluster, prefix + "-" + name, options().build());
  }

  private Options.Builder options() {
    return new Options.Builder().natsUrl(url);
  }

  private static SubscriptionOptions.Builder all() {
    return new SubscriptionOptions.Builder().deliverAllAvailable();
  }

  private void publishCount(StreamingConnection sc, int first, int count) throws Exception {
    for (int n = first; n < first + count; n++) {
      sc.publish(channel, bytes(Integer.toString(n)));
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(byte[] data) {
    return new String(data, StandardCharsets.UTF_8);
  }

  /** A subscription whose messages can be waited for, one by one. Acks are manual. */
  private static final class Feed {
    final BlockingQueue<Message> messages = new LinkedBlockingQueue<>();
    Subscription subscription;

    Feed(StreamingConnection sc, String channel, String group, boolean acks,
        SubscriptionOptions.Builder options) throws Exception {
      subscription = sc.subscribe(channel, group, message -> {
        if (acks) {
          ack(message);
        }
        messages.add(message);
      }, options.manualAcks().build());
    }

    List<Message> take(int count) throws Exception {
      List<Message> taken = new ArrayList<>();
      while (taken.size() < count) {
        Message message = messages.poll(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        if (message == null) {
          throw new IOException("only " + taken.size() + " of " + count + " messages came");
        }
        taken.add(message);
      }
      return taken;
    }

    /** 1 when another message comes within the time. */
    int more(long withinMillis) throws Exception {
      return messages.poll(withinMillis, TimeUnit.MILLISECONDS) == null ? 0 : 1;
    }
  }

  private static void ack(Message message) {
    try {
      message.ack();
    } catch (IOException error) {
      throw new IllegalStateException(error);
    }
  }

  private Feed subscribe(StreamingConnection sc, SubscriptionOptions.Builder options)
      throws Exception {
    return new Feed(sc, channel, null, true, options);
  }

  private static List<Long> sequences(List<Message> messages) {
    return messages.stream().map(Message::getSequence).collect(Collectors.toList());
  }

  private void publish() throws Exception {
    StreamingConnection sc = connect("a");
    for (String word : List.of("one", "two", "three")) {
      sc.publish(channel, bytes(word));
      observe("{'acked': true}");
    }
    for (Message message : subscribe(sc, all()).take(3)) {
      observe("{'sequence': %d, 'data': '%s', 'redelivered': %b}",
          message.getSequence(), text(message.getData()), message.isRedelivered());
    }
    sc.close();
  }

  private void publishAsync() throws Exception {
    StreamingConnection sc = connect("a");
    Set<String> acked = Collections.synchronizedSet(new HashSet<>());
    CountDownLatch left = new CountDownLatch(100);
    Set<String> sent = new HashSet<>();
    for (int n = 1; n <= 100; n++) {
      sent.add(sc.publish(channel, bytes(Integer.toString(n)), (guid, error) -> {
        if (error == null) {
          acked.add(guid);
        }
        left.countDown();
      }));
    }
    left.await();
    sent.retainAll(acked);
    observe("{'acked': %d}", sent.size());
    List<Long> received = sequences(subscribe(sc, all()).take(100));
    List<Long> sorted = new ArrayList<>(received);
    Collections.sort(sorted);
    observe("{'received': %d, 'ordered': %b}", received.size(), sorted.equals(received));
    sc.close();
  }

  private void startPositions() throws Exception {
    StreamingConnection sc = connect("a");
    publishCount(sc, 1, 3);
    Thread.sleep(400);
    Instant between = Instant.now().minusMillis(200);
    publishCount(sc, 4, 2);
    Map<String, SubscriptionOptions.Builder> starts = new LinkedHashMap<>();
    starts.put("all", all());
    starts.put("last", new SubscriptionOptions.Builder().startWithLastReceived());
    starts.put("sequence", new SubscriptionOptions.Builder().startAtSequence(3));
    starts.put("time", new SubscriptionOptions.Builder().startAtTime(between));
    starts.put("delta", new SubscriptionOptions.Builder().startAtTimeDelta(Duration.ofHours(1)));
    for (Map.Entry<String, SubscriptionOptions.Builder> start : starts.entrySet()) {
      Message first = subscribe(sc, start.getValue()).take(1).get(0);
      observe("{'start': '%s', 'sequence': %d}", start.getKey(), first.getSequence());
    }
    Feed fresh = subscribe(sc, new SubscriptionOptions.Builder());
    publishCount(sc, 6, 1);
    observe("{'start': 'new', 'sequence': %d}", fresh.take(1).get(0).getSequence());
    sc.close();
  }

  private void durable() throws Exception {
    StreamingConnection sc = connect("a");
    Feed first = subscribe(sc, all().durableName("d"));
    publishCount(sc, 1, 3);
    observe("{'received': %s}", sequences(first.take(3)));
    sc.close();
    StreamingConnection again = connect("a");
    publishCount(again, 4, 2);
    observe("{'resumed': %s}", sequences(subscribe(again, all().durableName("d")).take(2)));
    again.close();
  }

  private void queueGroup() throws Exception {
    StreamingConnection sc = connect("a");
    List<Feed> members = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      members.add(new Feed(sc, channel, "g", false, all()));
    }
    publishCount(sc, 1, 30);
    List<Integer> shares = new ArrayList<>();
    Set<Long> distinct = new HashSet<>();
    for (Feed member : members) {
      List<Long> share = sequences(member.take(10));
      shares.add(share.size());
      distinct.addAll(share);
    }
    observe("{'shares': %s, 'distinct': %d}", shares, distinct.size());
    sc.close();
  }

  private void redelivery() throws Exception {
    StreamingConnection sc = connect("a");
    Feed feed = new Feed(sc, channel, null, false, all().ackWait(Duration.ofSeconds(1)));
    publishCount(sc, 1, 1);
    List<Message> taken = feed.take(3);
    for (Message message : taken) {
      observe("{'redelivered': %b}", message.isRedelivered());
    }
    ack(taken.get(2));
    observe("{'after_ack': %d}", feed.more(1500));
    sc.close();
  }

  private void maxInFlight() throws Exception {
    StreamingConnection sc = connect("a");
    Feed feed = new Feed(sc, channel, null, false, all().maxInFlight(5));
    publishCount(sc, 1, 10);
    List<Message> before = feed.take(5);
    observe("{'before_acks': %s, 'more': %d}", sequences(before), feed.more(300));
    before.forEach(Driver::ack);
    observe("{'after_acks': %s}", sequences(feed.take(5)));
    sc.close();
  }

  private void duplicateId() throws Exception {
    StreamingConnection sc = connect("a");
    try {
      connect("a");
    } catch (IOException error) {
      observe("{'refused': '%s'}", error.getMessage());
    }
    sc.close();
  }

  private void replaced() throws Exception {
    CompletableFuture<String> lost = new CompletableFuture<>();
    String victim = prefix + "-a";
    NatsStreaming.connect(cluster, victim, options().pingInterval(Duration.ofSeconds(1))
        .connectionLostHandler((sc, reason) -> lost.complete(reason.getMessage())).build());
    StreamingConnection other = connect("b");
    // Close the client behind its back: CloseRequest{clientID} by hand.
    ByteArrayOutputStream request = new ByteArrayOutputStream();
    request.write(0x0a);
    request.write(victim.length());
    request.write(bytes(victim));
    other.getNatsConnection().request("_STAN.close." + cluster, request.toByteArray()).get();
    observe("{'lost': '%s'}", lost.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS));
    other.close();
  }

  private void unsubscribe() throws Exception {
    StreamingConnection sc = connect("a");
    Feed first = subscribe(sc, all().durableName("d"));
    publishCount(sc, 1, 2);
    observe("{'received': %s}", sequences(first.take(2)));
    first.subscription.close();
    publishCount(sc, 3, 1);
    Feed second = subscribe(sc, all().durableName("d"));
    observe("{'after_close': %s}", sequences(second.take(1)));
    second.subscription.unsubscribe();
    Feed third = subscribe(sc, all().durableName("d"));
    observe("{'after_unsubscribe': %s}", sequences(third.take(3)));
    sc.close();
  }

  private void carry(byte[] data) throws Exception {
    StreamingConnection sc = connect("a");
    sc.publish(channel, data);
    byte[] received = subscribe(sc, all()).take(1).get(0).getData();
    StringBuilder digest = new StringBuilder();
    for (byte part : MessageDigest.getInstance("SHA-256").digest(received)) {
      digest.append(String.format("%02x", part));
    }
    observe("{'bytes': %d, 'digest': '%s', 'same': %b}",
        received.length, digest, Arrays.equals(data, received));
    sc.close();
  }

  private void large() throws Exception {
    byte[] data = new byte[1024 * 1024 - 1024];
    Arrays.fill(data, (byte) 'x');
    carry(data);
  }

  private void binary() throws Exception {
    byte[] data = new byte[256];
    for (int n = 0; n < data.length; n++) {
      data[n] = (byte) n;
    }
    carry(data);
  }

  private void manyChannels() throws Exception {
    StreamingConnection sc = connect("a");
    BlockingQueue<Boolean> acks = new LinkedBlockingQueue<>();
    for (int n = 0; n < 1000; n++) {
      String name = channel + "." + n;
      sc.publish(name, bytes(name), (guid, error) -> acks.add(error == null));
    }
    int acked = 0;
    int received = 0;
    for (int n = 0; n < 1000; n++) {
      acked += acks.take() ? 1 : 0;
    }
    observe("{'acked': %d}", acked);
    for (int n = 0; n < 1000; n++) {
      String name = channel + "." + n;
      Message message = new Feed(sc, name, null, true, all()).take(1).get(0);
      received += text(message.getData()).equals(name) && message.getSequence() == 1 ? 1 : 0;
    }
    observe("{'received': %d}", received);
    sc.close();
  }
}
