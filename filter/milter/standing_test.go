package milter

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/scanner"
)

// spamc is a milter that puts X-Judged on what has at most so many octets of body: none where what it asks is gone.
func spamc(t *testing.T, takes *atomic.Int64) string {
	return peertest.Serve(t, func(conn net.Conn) {
		w := wire{conn: conn}
		var body int64
		for {
			cmd, data, err := w.read()
			switch {
			case err != nil:
				return
			case cmd == cmdNegotiate:
				_, _ = conn.Write(packet(cmdNegotiate, 6, 0x1ff, 0))
			case cmd == cmdMacro, cmd == cmdQuit:
			case cmd == cmdEnd && body <= takes.Load():
				_, _ = conn.Write(join(packet(actAddHeader, "X-Judged\x00yes\x00"), packet(actContinue)))
			default:
				if cmd == cmdBody {
					body += int64(len(data))
				}
				_, _ = conn.Write(packet(actContinue))
			}
		}
	})
}

// TestPaddingAndADeadServer: while what a milter asks is gone, a message that is as large as some that it has judged is not taken for
// one that it does not judge, and a larger one is neither let through nor refused for good.
func TestPaddingAndADeadServer(t *testing.T) {
	const upTo, large, larger = 1000, 200_000, 5_000_000
	for oversize, normal := range map[string]string{"pass": "continue", "tag": "tag", "quarantine": "quarantine", "reject": "reject"} {
		t.Run(oversize, func(t *testing.T) {
			var takes atomic.Int64
			takes.Store(1_000_000)
			c := newCheck(t, func(c *config) {
				c.Expect, c.ExpectUpTo, c.Oversize, c.Faults = []string{"X-Judged"}, upTo, oversize, 1000
			}, spamc(t, &takes)).(*check)
			ask := func(octets int, want string) {
				t.Helper()
				r, err := c.Check(t.Context(), sized(t, octets))
				got := shown(r)
				if err != nil {
					got = err.Error()
				}
				if !strings.Contains(got, want) {
					t.Errorf("%d octets: got %s, want %s", octets, got, want)
				}
			}
			put, fault := `AddField{Name:"X-Judged", Body:"yes"}`, "it has put no X-Judged"
			st := standingOf(c.pool.Servers()[0])

			// What it has not shown yet nobody knows.
			if oversize == "reject" {
				ask(larger, "defer; MILTER_UNSCANNED")
			} else {
				ask(larger, normal+"; MILTER_UNSCANNED")
			}
			ask(large, put)
			ask(larger, normal+"; MILTER_UNSCANNED")

			// Gone: what is larger than all that it has judged is known to be so by then.
			takes.Store(-1)
			ask(large-spread, fault)
			switch c.config.Oversize {
			case "quarantine":
				ask(larger, "quarantine; MILTER_UNSCANNED")
			default:
				ask(larger, "defer; MILTER_UNSCANNED")
			}
			ask(upTo, fault)

			// It is back, and takes no large ones any more.
			takes.Store(upTo)
			ask(upTo, put)
			ask(large-spread, normal+"; MILTER_UNSCANNED")

			// Nothing was heard of it for long: what it would have said is not known.
			st.judged = st.judged.Add(-fresh)
			if oversize == "reject" {
				ask(larger, "defer; MILTER_UNSCANNED")
			} else {
				ask(larger, normal+"; MILTER_UNSCANNED")
			}
		})
	}
}

// TestServerGone: a milter that can't be reached is not well.
func TestServerGone(t *testing.T) {
	c := newCheck(t, func(c *config) { c.Expect = []string{"X-Judged"} }, "127.0.0.1:1").(*check)
	st := standingOf(c.pool.Servers()[0])
	st.judges(10)
	if well, lately := st.well(); !well || !lately {
		t.Error("it is not well, which has judged")
	}
	if _, err := c.Check(t.Context(), sized(t, 5000)); err == nil || scanner.IsBlameless(err) {
		t.Fatal(err)
	}
	if well, lately := st.well(); well || lately {
		t.Error("it is well, which is gone")
	}
	st.judges(10)
	st.judged = st.judged.Add(-fresh - time.Second)
	if well, lately := st.well(); !well || lately {
		t.Error("it was lately, long ago")
	}
}

// TestUpTo: what is nearly as large as a message that was judged need not be judged: the milter may count otherwise.
func TestUpTo(t *testing.T) {
	for judged, want := range map[int64]int64{0: 1000, 10_000: 1000, 100_000: 100_000 - spread, 16 << 20: 15 << 20} {
		st := new(standing)
		st.judges(judged)
		if got := st.upTo(1000); got != want {
			t.Errorf("after %d octets: %d, not %d", judged, got, want)
		}
	}
}
