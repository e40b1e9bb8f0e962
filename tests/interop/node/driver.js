// Runs one scenario with the published Node client and prints what it observed, a JSON object a
// line. Usage: node driver.js SCENARIO URL CLUSTER PREFIX. No judgement is made here: the test
// compares. Every channel and client ID starts with PREFIX.
'use strict'

const crypto = require('crypto')
const stan = require('node-nats-streaming')

const [scenario, url, cluster, prefix] = process.argv.slice(2)
const channel = `${prefix}-channel`
const PATIENCE_MS = 20000

const observe = (what) => console.log(JSON.stringify(what))
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

function connect (name, options = {}) {
  return new Promise((resolve, reject) => {
    const sc = stan.connect(cluster, `${prefix}-${name}`, { url, stanEncoding: 'binary', ...options })
    sc.once('connect', () => resolve(sc))
    sc.once('error', reject)
  })
}

const close = (sc) => new Promise((resolve) => {
  sc.once('close', resolve)
  sc.close()
})

function publish (sc, subject, data) {
  return new Promise((resolve, reject) => {
    const guid = sc.publish(subject, data, (error, acked) => {
      if (error) reject(error)
      else resolve(acked === guid)
    })
  })
}

// A subscription whose messages can be waited for, one by one.
class Feed {
  constructor (subscription, acks) {
    this.subscription = subscription
    this.messages = []
    this.waiting = null
    subscription.on('message', (message) => {
      if (acks) message.ack()
      this.messages.push(message)
      if (this.waiting) this.waiting()
    })
  }

  async next (patience = PATIENCE_MS) {
    if (this.messages.length === 0) {
      await Promise.race([new Promise((resolve) => { this.waiting = resolve }), pause(patience)])
      this.waiting = null
    }
    return this.messages.shift()
  }

  async take (count) {
    const taken = []
    while (taken.length < count) {
      const message = await this.next()
      if (!message) throw new Error(`only ${taken.length} of ${count} messages came`)
      taken.push(message)
    }
    return taken
  }

  end (verb) {
    return new Promise((resolve, reject) => {
      this.subscription.once(verb === 'close' ? 'closed' : 'unsubscribed', resolve)
      this.subscription.once('error', reject)
      this.subscription[verb]()
    })
  }
}

// `acks` false leaves the acks to the scenario.
function subscribe (sc, { subject = channel, group, acks = true, options = (o) => o.setDeliverAllAvailable() } = {}) {
  return new Promise((resolve, reject) => {
    const chosen = options(sc.subscriptionOptions()).setManualAckMode(true)
    const subscription = sc.subscribe(subject, group, chosen)
    const feed = new Feed(subscription, acks)
    subscription.once('ready', () => resolve(feed))
    subscription.once('error', reject)
  })
}

const sequences = (messages) => messages.map((message) => message.getSequence())
const digest = (data) => crypto.createHash('sha256').update(data).digest('hex')

async function publishCount (sc, count, first = 1) {
  for (let n = first; n < first + count; n++) await publish(sc, channel, `${n}`)
}

async function roundTrip (sc, data) {
  await publish(sc, channel, data)
  const [message] = await (await subscribe(sc)).take(1)
  const received = message.getRawData()
  observe({ bytes: received.length, digest: digest(received), same: data.equals(Buffer.from(received)) })
}

// Close a client behind its back: CloseRequest{clientID} by hand.
function evict (sc, clientID) {
  return new Promise((resolve) => {
    const request = Buffer.concat([Buffer.from([0x0a, clientID.length]), Buffer.from(clientID)])
    sc.nc.requestOne(`_STAN.close.${cluster}`, request, 5000, resolve)
  })
}

const SCENARIOS = {
  async publish () {
    const sc = await connect('a')
    for (const word of ['one', 'two', 'three']) observe({ acked: await publish(sc, channel, word) })
    for (const message of await (await subscribe(sc)).take(3)) {
      observe({
        sequence: message.getSequence(),
        data: message.getRawData().toString(),
        redelivered: message.isRedelivered()
      })
    }
    await close(sc)
  },

  async publish_async () {
    const sc = await connect('a')
    const acks = []
    for (let n = 1; n <= 100; n++) acks.push(publish(sc, channel, `${n}`))
    const matched = await Promise.all(acks)
    observe({ acked: matched.filter(Boolean).length })
    const messages = await (await subscribe(sc)).take(100)
    observe({ received: messages.length, ordered: messages.every((m, i) => m.getSequence() === i + 1) })
    await close(sc)
  },

  async start_positions () {
    const sc = await connect('a')
    await publishCount(sc, 3)
    await pause(400)
    const between = new Date(Date.now() - 200)
    await publishCount(sc, 2, 4)
    const starts = {
      all: (o) => o.setDeliverAllAvailable(),
      last: (o) => o.setStartWithLastReceived(),
      sequence: (o) => o.setStartAtSequence(3),
      time: (o) => o.setStartTime(between),
      delta: (o) => o.setStartAtTimeDelta(3600 * 1000)
    }
    for (const [start, options] of Object.entries(starts)) {
      observe({ start, sequence: sequences(await (await subscribe(sc, { options })).take(1))[0] })
    }
    const fresh = await subscribe(sc, { options: (o) => o.setStartAt(stan.StartPosition.NEW_ONLY) })
    await publishCount(sc, 1, 6)
    observe({ start: 'new', sequence: sequences(await fresh.take(1))[0] })
    await close(sc)
  },

  async durable () {
    const sc = await connect('a')
    const options = (o) => o.setDeliverAllAvailable().setDurableName('d')
    const first = await subscribe(sc, { options })
    await publishCount(sc, 3)
    observe({ received: sequences(await first.take(3)) })
    await close(sc)
    const again = await connect('a')
    await publishCount(again, 2, 4)
    observe({ resumed: sequences(await (await subscribe(again, { options })).take(2)) })
    await close(again)
  },

  async queue_group () {
    const sc = await connect('a')
    const members = []
    for (let n = 0; n < 3; n++) members.push(await subscribe(sc, { group: 'g', acks: false }))
    await publishCount(sc, 30)
    const shares = await Promise.all(members.map((member) => member.take(10)))
    const all = shares.flatMap(sequences)
    observe({ shares: shares.map((share) => share.length), distinct: new Set(all).size })
    await close(sc)
  },

  async redelivery () {
    const sc = await connect('a')
    const options = (o) => o.setDeliverAllAvailable().setAckWait(1000)
    const feed = await subscribe(sc, { acks: false, options })
    await publishCount(sc, 1)
    for (const message of await feed.take(3)) {
      observe({ redelivered: message.isRedelivered(), count: message.getRedeliveryCount() })
      if (message.getRedeliveryCount() === 2) message.ack()
    }
    observe({ after_ack: (await feed.next(1500)) ? 1 : 0 })
    await close(sc)
  },

  async max_in_flight () {
    const sc = await connect('a')
    const options = (o) => o.setDeliverAllAvailable().setMaxInFlight(5)
    const feed = await subscribe(sc, { acks: false, options })
    await publishCount(sc, 10)
    const before = await feed.take(5)
    observe({ before_acks: sequences(before), more: (await feed.next(300)) ? 1 : 0 })
    before.forEach((message) => message.ack())
    observe({ after_acks: sequences(await feed.take(5)) })
    await close(sc)
  },

  async duplicate_id () {
    const sc = await connect('a')
    try {
      await connect('a')
    } catch (error) {
      observe({ refused: `${error.message || error}` })
    }
    await close(sc)
  },

  async replaced () {
    const victim = await connect('a', { stanPingInterval: 1000 })
    const other = await connect('b')
    const lost = new Promise((resolve) => victim.once('connection_lost', resolve))
    await evict(other, `${prefix}-a`)
    const reason = await lost
    observe({ lost: `${reason.message || reason}` })
    await close(other)
  },

  async unsubscribe () {
    const sc = await connect('a')
    const options = (o) => o.setDeliverAllAvailable().setDurableName('d')
    const first = await subscribe(sc, { options })
    await publishCount(sc, 2)
    observe({ received: sequences(await first.take(2)) })
    await first.end('close')
    await publishCount(sc, 1, 3)
    const second = await subscribe(sc, { options })
    observe({ after_close: sequences(await second.take(1)) })
    await second.end('unsubscribe')
    observe({ after_unsubscribe: sequences(await (await subscribe(sc, { options })).take(3)) })
    await close(sc)
  },

  async large () {
    const sc = await connect('a')
    await roundTrip(sc, Buffer.alloc(1024 * 1024 - 1024, 'x'))
    await close(sc)
  },

  async binary () {
    const sc = await connect('a')
    await roundTrip(sc, Buffer.from(Array.from({ length: 256 }, (_, n) => n)))
    await close(sc)
  },

  async many_channels () {
    const sc = await connect('a')
    const names = Array.from({ length: 1000 }, (_, n) => `${channel}.${n}`)
    const acked = await Promise.all(names.map((name) => publish(sc, name, name)))
    observe({ acked: acked.filter(Boolean).length })
    let received = 0
    for (const name of names) {
      const [message] = await (await subscribe(sc, { subject: name })).take(1)
      if (message.getRawData().toString() === name && message.getSequence() === 1) received++
    }
    observe({ received })
    await close(sc)
  }
}

const deadline = setTimeout(() => {
  console.error(`${scenario} did not end in time`)
  process.exit(1)
}, 60000)

SCENARIOS[scenario]().then(() => {
  clearTimeout(deadline)
  process.exit(0)
}).catch((error) => {
  console.error(error)
  process.exit(1)
})
