package milter

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// sized gives a message of so many octets.
func sized(t *testing.T, octets int) *filter.Input {
	t.Helper()
	in := input(t)
	head := "Subject: x\r\n\r\n"
	in.Content = mail.NewContent(mail.NewBlob([]byte(head+strings.Repeat("x", octets-len(head)))), mail.LineFaults{}, mail.Limits{})
	return in
}

// TestExpectUpTo: that an expected field is missing is the milter's fault with a message that it should have judged, and with a larger one
// is no word about it: neither a fault, nor a sign that it is well.
func TestExpectUpTo(t *testing.T) {
	const upTo = 1000
	f := startFake(t, 0, nil) // it says yes to everything, and puts no field on it
	c := newCheck(t, func(c *config) { c.Expect, c.ExpectUpTo, c.Faults, c.Pause = []string{"X-Judged"}, upTo, 3, time.Hour }, f.addr).(*check)
	state := func() scanner.State { return c.pool.State() }
	large := func() {
		t.Helper()
		r, err := c.Check(t.Context(), sized(t, upTo+1))
		const want = "defer; MILTER_UNSCANNED? 1 no X-Judged on a message of 1001 octets: not judged, since it is expected up to 1000; 451 4.7.1 message is too large to be checked at present"
		if err != nil || shown(r) != want {
			t.Errorf("got  %s, %v\nwant %s", shown(r), err, want)
		}
	}
	for range 10 {
		large()
	}
	if state() != scanner.Closed {
		t.Fatalf("messages that are too large open the breaker")
	}
	for range 3 {
		if state() != scanner.Closed {
			t.Error("the breaker opens too early")
		}
		if r, err := c.Check(t.Context(), sized(t, upTo)); err == nil || !strings.Contains(err.Error(), "it has put no X-Judged on the message of 1000 octets") {
			t.Errorf("got %s, %v", shown(r), err)
		}
		if state() == scanner.Closed {
			large() // it does not begin the row anew
		}
	}
	if state() != scanner.Open {
		t.Errorf("the breaker is %s", state())
	}
}

// TestOversize: what becomes of a message that is larger than the milter judges.
func TestOversize(t *testing.T) {
	for oversize, want := range map[string]string{
		"pass": "continue; MILTER_UNSCANNED", "tag": "tag; MILTER_UNSCANNED", "quarantine": "quarantine; MILTER_UNSCANNED",
		"defer": "defer; MILTER_UNSCANNED", "reject": "reject; MILTER_UNSCANNED",
	} {
		t.Run(oversize, func(t *testing.T) {
			set := func(c *config) { c.Expect, c.ExpectUpTo, c.Oversize = []string{"X-Judged"}, 1000, oversize }
			judges := startFake(t, 0, map[byte][]byte{cmdEnd: join(packet(actAddHeader, "X-Judged\x00yes\x00"), packet(actContinue))})
			if r, err := newCheck(t, set, judges.addr).Check(t.Context(), sized(t, 5000)); err != nil || shown(r) != `continue; AddField{Name:"X-Judged", Body:"yes"}` {
				t.Errorf("judged all the same: %s, %v", shown(r), err)
			}
			if oversize == "reject" { // only a milter that judges may refuse for good
				want = "defer; MILTER_UNSCANNED"
			}
			other := startFake(t, 0, map[byte][]byte{cmdEnd: join(packet(actAddHeader, "X-Other\x00yes\x00"), packet(actContinue))})
			r, err := newCheck(t, set, other.addr).Check(t.Context(), sized(t, 5000))
			if err != nil || !strings.HasPrefix(shown(r), want) || !strings.Contains(shown(r), `AddField{Name:"X-Other", Body:"yes"}`) {
				t.Errorf("got %s, %v", shown(r), err)
			}
			if r.Reply != nil && (r.Propose == filter.Reject) != r.Reply.Permanent() {
				t.Errorf("%s: %s", r.Propose, r.Reply)
			}
		})
	}
	if bad := (&config{ExpectUpTo: 0}).check(); bad == nil || !strings.Contains(bad.Error(), "expect_up_to") {
		t.Errorf("got %v", bad)
	}
}

// TestEarlyAnswers: a milter that says what it thinks of a message before it has heard the end of it has not judged it.
func TestEarlyAnswers(t *testing.T) {
	for name, answers := range map[string]map[byte][]byte{
		"continue, twice":  {cmdHelo: join(packet(actContinue), packet(actContinue))},
		"half of a packet": {cmdBody: join(packet(actContinue), []byte{0, 0})},
		"an answer to no command": {
			cmdNegotiate: packet(cmdNegotiate, 6, 0x1ff, nrBody), cmdBody: packet(actContinue),
		},
	} {
		t.Run(name, func(t *testing.T) {
			sizes := []int{20_000_000} // more than a connection holds
			if answers[cmdHelo] != nil {
				sizes = append(sizes, 100)
			}
			for _, size := range sizes {
				f := startFake(t, 0, answers)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r, err := newCheck(t, nil, f.addr).Check(ctx, sized(t, size))
				if err == nil || !strings.Contains(err.Error(), "before it had all") && !strings.Contains(err.Error(), "makes no sense") {
					t.Errorf("%d octets: got %s, %v", size, shown(r), err)
				}
			}
		})
	}
}

// TestHeaderIsBereft: a message that a milter leaves without a field that each must have is not delivered so: a server inside may refuse it.
func TestHeaderIsBereft(t *testing.T) {
	const text = "From: a@b.example\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\nX-A: 1\r\n\r\nbody\r\n"
	for name, c := range map[string]struct {
		wants []byte
		want  string // "": an error
	}{
		"all of them":      {join(packet(actChange, 1, "From\x00\x00"), packet(actChange, 1, "Date\x00\x00"), packet(actChange, 1, "X-A\x00\x00")), ""},
		"the date":         {packet(actChange, 1, "DATE\x00\x00"), ""},
		"another one":      {join(packet(actChange, 1, "From\x00\x00"), packet(actAddHeader, "From\x00c@d.example\x00")), `continue; AddField{Name:"From", Body:"c@d.example"}; RemoveField{Index:0}`},
		"a change":         {packet(actChange, 1, "From\x00c@d.example\x00"), `continue; ReplaceField{Index:0, Body:"c@d.example"}`},
		"held as it is":    {join(packet(actChange, 1, "From\x00\x00"), packet(actQuarantine, "bad\x00")), `quarantine; MILTER 1 quarantine: bad; RemoveField{Index:0}`},
		"what need not be": {packet(actChange, 1, "X-A\x00\x00"), `continue; RemoveField{Index:2}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, 0, map[byte][]byte{cmdEnd: join(c.wants, packet(actContinue))})
			in := input(t)
			in.Content = mail.NewContent(mail.NewBlob([]byte(text)), mail.LineFaults{}, mail.Limits{})
			r, err := newCheck(t, nil, f.addr).Check(t.Context(), in)
			if c.want == "" && (err == nil || !strings.Contains(err.Error(), "nobody would take that")) || c.want != "" && (err != nil || shown(r) != c.want) {
				t.Errorf("got %s, %v", shown(r), err)
			}
		})
	}
}

// TestImpossibleWishes: whatever a milter wants, however much of it and for however long, ends, and is told of.
func TestImpossibleWishes(t *testing.T) {
	megabyte := strings.Repeat("x", maxPacket-1)
	for name, c := range map[string]struct {
		wish []byte // again and again
		why  string
	}{
		"another body of 1 GiB":       {packet(actReplaceBody, megabyte), "more than"},
		"ten thousand recipients":     {packet(actAddRcpt, "<a@b.example>\x00"), "more than 500 changes"},
		"all recipients gone":         {packet(actDelRcpt, "<c@d.example>\x00"), "more than 500 changes"},
		"progress without end":        {packet(actProgress), "more than"},
		"quarantine without end":      {packet(actQuarantine, "x\x00"), "more than 500 changes"},
		"fields without end":          {packet(actInsert, 0, "X-A\x00b\x00"), "more than 500 changes"},
		"long fields without end":     {packet(actInsert, 0, "X-A\x00"+megabyte[:900_000]+"\x00"), "more than"},
		"changes of its own protocol": {packet(cmdNegotiate, 6, 0x1ff, 0), "makes no sense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := peertest.Serve(t, func(conn net.Conn) {
				w := wire{conn: conn}
				for {
					cmd, _, err := w.read()
					if err != nil {
						return
					}
					switch cmd {
					case cmdNegotiate:
						_, _ = conn.Write(packet(cmdNegotiate, 6, 0x1ff, 0))
					case cmdMacro, cmdQuit:
					case cmdEnd:
						for err == nil {
							_, err = conn.Write(c.wish)
						}
						return
					default:
						_, _ = conn.Write(packet(actContinue))
					}
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := newCheck(t, func(c *config) { c.Body = bodyIgnore }, addr).Check(ctx, input(t))
			if err == nil || !strings.Contains(err.Error(), c.why) || ctx.Err() != nil {
				t.Errorf("got %s, %v", shown(r), err)
			}
		})
	}
}
