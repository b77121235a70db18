"""Who sends a newsletter is in nobody's way: flows take turns, and what is new and small goes first."""

import time

MAIL = "To: {}\nFrom: {}\nSubject: s\n\nbody {}\n"


def newsletter(queue, messages, recipients=1, flow=7):
    """So many messages, as if sent long ago, without as many calls of sendmail."""
    queue.submit(MAIL.format("first@example.net", "news@example.com", 0), "-t", "-i", "-f",
                 "news@example.com")
    queue.as_program(
        f"with recursive n(i) as (select 1 union all select i+1 from n where i<{messages})"
        " insert into message(id,key,submitted,uid,sender,size,eightbit,message_id)"
        " select i,randomblob(16),submitted,uid,sender,size,eightbit,'' from n, message where id=1 and i>1;"
        "insert into content select id,crc,data from message, content where id>1 and message=1;"
        f"with recursive n(i) as (select 1 union all select i+1 from n where i<{recipients})"
        " insert into recipient(message,address,once,next_try,since)"
        " select id,'r'||id||'-'||i||'@example.net',randomblob(16),submitted,submitted"
        " from message cross join n where id>1 or i>1;"
        f"update recipient set flow={flow}, next_try=next_try-60000, since=since-60000")


def reset(queue, sender="login@example.com", to="user@example.net"):
    queue.submit(MAIL.format(to, sender, "reset"), "-t", "-i", "-f", sender)


def submitted_in_the_middle(queue, far, after):
    """How many others SES took between a reset's submission and the reset."""
    flusher = queue.flusher()
    far.wait(after)
    before = len(far.messages)
    reset(queue)
    far_off = [m for m in wait_for_reset(far)]
    flusher.signal(15)
    assert flusher.wait() == 0
    return len(far_off) - before


def wait_for_reset(far, deadline=30):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        taken = list(far.messages)
        for number, message in enumerate(taken):
            if message["recipients"] == ["user@example.net"]:
                return taken[:number]
        time.sleep(0.005)
    raise AssertionError(f"not among {len(far.messages)}")


def test_a_reset_passes_a_newsletter_of_thousands(queue, ses):
    far = ses(latency=5)
    queue.write(linger="60s")
    queue.relay(far.url)
    newsletter(queue, 5000)
    assert submitted_in_the_middle(queue, far, 300) <= 20


def test_a_reset_passes_one_message_to_thousands(queue, ses):
    """Fifty recipients each time, paced."""
    far = ses(rate=500)
    queue.write(linger="60s", recipients_max="100000")
    queue.relay(far.url)
    newsletter(queue, 1, 5000)
    assert submitted_in_the_middle(queue, far, 5) <= 6


def test_a_reset_passes_a_newsletter_at_a_listener(queue, listener, ses):
    """Over the listener the window holds some more."""
    far = ses(rate=200)
    near = listener(far.url, rate="200/s")
    queue.write(linger="60s")
    queue.relay(near.url())
    newsletter(queue, 5000)
    assert submitted_in_the_middle(queue, far, 400) <= 300


def test_nobody_starves(queue, ses):
    """Two newsletters and a large message: each is sent while the others are."""
    far = ses(latency=1)
    queue.relay(far.url)
    newsletter(queue, 600)
    queue.as_program("update recipient set flow=9 where id%3=0")
    queue.submit(MAIL.format("big@example.net", "big@example.com", "x" * 70 + "\n" * 2) + ("y" * 70 + "\n") * 6000,
                 "-t", "-i", "-f", "big@example.com")
    assert queue.flush().sent == 601
    order = [m["recipients"][0] for m in far.messages]
    assert order.index("big@example.net") < 500
    third = [n for n, r in enumerate(order) if r.startswith("r") and int(r[1:].split("-")[0]) % 3 == 0]
    assert third[-1] < 450, "its third went in turn with the others"


def test_a_road_that_is_down_is_in_no_other_ones_way(queue, ses):
    """Thousands wait for it, before and among what goes elsewhere, in one flow; the same for a road
    that is slow, of which enough is in hand."""
    far = ses()
    queue.write(route="*@dead.example lmtp://127.0.0.1:9")
    queue.relay(far.url)
    newsletter(queue, 6000)
    queue.as_program("update recipient set address='x'||id||'@dead.example' where id<5000 or id%2=0")
    started = time.monotonic()
    run = queue.flush("--once")
    assert run.sent == 500 and len(far.messages) == 500
    assert time.monotonic() - started < 20
    assert queue.states() == {"queued": 5500, "sent": 500}


def test_a_look_costs_the_same_however_long_the_queue(queue, ses):
    """A hundred thousand wait; new mail is seen at once, and the flusher does not read them all."""
    far = ses(rate=200)
    queue.write(linger="60s")
    queue.relay(far.url)
    newsletter(queue, 1, 100_000)
    flusher = queue.flusher()
    far.wait(2)
    before = time.monotonic()
    for i in range(20):
        reset(queue, to="user@example.net" if i == 19 else f"u{i}@example.net")
    taken = wait_for_reset(far)
    assert time.monotonic() - before < 10
    assert len([m for m in taken if len(m["recipients"]) > 1]) < 20
    with open(f"/proc/{flusher.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    assert (int(fields[11]) + int(fields[12])) / 100 < 3
    flusher.stop()
