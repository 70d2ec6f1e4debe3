package clamd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// fake is a clamd that finds what texts name, and answers as it is told to.
type fake struct {
	addr    string
	version string
	answer  func(c net.Conn, number int, command string, stream []byte) bool // false: the usual answer

	mu      sync.Mutex
	streams []string // that were scanned
}

func startFake(t *testing.T, answer func(net.Conn, int, string, []byte) bool) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fake{addr: "unix:" + filepath.Join(dir, "s"), version: "ClamAV 1.4.3/27800/" + time.Now().Add(-time.Hour).Format(time.ANSIC), answer: answer}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	peertest.ServeOn(t, l, f.serve)
	return f
}

func (f *fake) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for number := 0; ; {
		command, err := r.ReadString(0)
		if err != nil {
			return
		}
		command = strings.TrimSuffix(command, "\x00")
		var stream []byte
		if command == "zIDSESSION" {
			continue
		}
		if number++; command == "zINSTREAM" {
			for {
				var n uint32
				if binary.Read(r, binary.BigEndian, &n) != nil {
					return
				}
				if n == 0 {
					break
				}
				b := make([]byte, n)
				if _, err := io.ReadFull(r, b); err != nil {
					return
				}
				stream = append(stream, b...)
			}
			f.mu.Lock()
			f.streams = append(f.streams, string(stream))
			f.mu.Unlock()
		}
		if f.answer != nil && f.answer(c, number, command, stream) {
			continue
		}
		said := f.version
		if command == "zINSTREAM" {
			said = "stream: OK"
			stream = bytes.ReplaceAll(stream, []byte("  Virus:  Virus.One"), nil) // a notice is none
			for _, name := range []string{"Virus.One", "Virus.Two", "PUA.Thing", "Heuristics.Limits.Exceeded.MaxFileSize", "Own.Name"} {
				if bytes.Contains(stream, []byte(name)) {
					said = "stream: " + name + " FOUND"
					break
				}
			}
		}
		_, _ = fmt.Fprintf(c, "%d: %s\x00", number, said)
	}
}

func (f *fake) scanned() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.streams
	f.streams = nil
	return all
}

func newCheck(t *testing.T, log io.Writer, change func(*config), servers ...string) filter.Filter {
	t.Helper()
	env := filter.Env{Name: "clamd", Hostname: "mx.example.org", Postmaster: "admin@example.org", Log: slog.New(slog.NewTextHandler(log, nil))}
	_, f, err := NewFactory().New(env, func(v any) error {
		c := v.(*config)
		c.Servers = servers
		if change != nil {
			change(c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func input(text string) *filter.Input {
	m := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(text, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	return &filter.Input{Phase: filter.Data, Session: &filter.Session{}, Transaction: &filter.Transaction{ID: "mx-1"}, Content: m}
}

const mixed = "Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n%s--b\n\nthe text\n--b\n" +
	"Content-Type: application/octet-stream; name=\"a.bin\"\nContent-Transfer-Encoding: base64\n\n%s\n--b--\n%s"

func checkIt(t *testing.T, f filter.Filter, in *filter.Input) (filter.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return f.Check(ctx, in)
}

// shown writes a result for comparison.
func shown(r filter.Result) string {
	var b strings.Builder
	b.WriteString(r.Propose.String())
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "; %s %g %s", f.Symbol+unsure(f), f.Strength, f.Detail)
	}
	for _, e := range r.Edits {
		fmt.Fprintf(&b, "; %s", e)
	}
	if r.Reply != nil {
		fmt.Fprintf(&b, "; %d", r.Reply.Code)
	}
	return b.String()
}

func TestOutcomes(t *testing.T) {
	const (
		one = "VmlydXMuT25l" // Virus.One
		own = "T3duLk5hbWU=" // Own.Name
		pua = "UFVBLlRoaW5n" // PUA.Thing
		lim = "SGV1cmlzdGljcy5MaW1pdHMuRXhjZWVkZWQuTWF4RmlsZVNpemU="
	)
	act := func(a string) func(*config) { return func(c *config) { c.Action = a } }
	for _, c := range []struct {
		name              string
		change            func(*config)
		before, part, aft string
		want              string
	}{
		{"clean", nil, "", "YWJj", "", "continue"},
		{"virus", nil, "", one, "", `reject; VIRUS 1 part 2 "a.bin": Virus.One; 550`},
		{"tag", act("tag"), "", one, "", `tag; VIRUS 1 part 2 "a.bin": Virus.One`},
		{"quarantine", act("quarantine"), "", one, "", `quarantine; VIRUS 1 part 2 "a.bin": Virus.One`},
		{"strip", act("strip"), "", one, "", `continue; VIRUS 1 part 2 "a.bin": Virus.One; replace part 2`},
		{"strip what can't be found", act("strip"), "Virus.Two\n", one, "", `quarantine; VIRUS 1 part 2 "a.bin": Virus.One; VIRUS 0 the message: Virus.Two; VIRUS 0 the message: Virus.Two; replace part 2`},
		{"strip, and the same behind it", act("strip"), "", one, "Virus.One\n", `quarantine; VIRUS 1 part 2 "a.bin": Virus.One; VIRUS 0 the message: Virus.One; replace part 2`},
		{"parts only", func(c *config) { c.Scan = "parts" }, "Virus.Two\n", "YWJj", "", "continue"},
		{"whole only", func(c *config) { c.Scan = "whole" }, "Virus.Two\n", one, "", "reject; VIRUS 1 the message: Virus.Two; 550"},
		{"unwanted", nil, "", pua, "", `tag; VIRUS_SUSPECT 1 part 2 "a.bin": PUA.Thing`},
		{"unwanted, and a rule more particular", func(c *config) { c.Signatures["PUA.Th*"] = "pass" }, "", pua, "", `continue;  0 part 2 "a.bin": PUA.Thing`},
		{"let off", func(c *config) { c.Signatures["Own.*"] = "pass" }, "", own, "", `continue;  0 part 2 "a.bin": Own.Name`},
		{"rule that refuses", func(c *config) { c.Action = "tag"; c.Signatures["Own.?ame"] = "reject" }, "", own, "", `reject; VIRUS 1 part 2 "a.bin": Own.Name; 550`},
		{"more than clamd looks at", nil, "", lim, "", `defer; VIRUS_UNSCANNED? 1 part 2 "a.bin": Heuristics.Limits.Exceeded.MaxFileSize; 451`},
		{"more than clamd looks at, let off", func(c *config) {
			c.Signatures["Heuristics.Limits.*"] = "tag"
			c.Signatures["Heuristics.Limits.Exceeded.Max*"] = "pass"
		}, "", lim, "", `continue;  0 part 2 "a.bin": Heuristics.Limits.Exceeded.MaxFileSize`},
		{"oversize", func(c *config) { c.Size = 250; c.Cache = 0 }, strings.Repeat("x", 300) + "\n", "YWJj", "", `defer; VIRUS_UNSCANNED? 1 the message: %d octets, and 250 are scanned; 451`},
		{"oversize passes", func(c *config) { c.Size = 250; c.Oversize = "pass" }, strings.Repeat("x", 300) + "\n", one, "", `reject; VIRUS 1 part 2 "a.bin": Virus.One; 550`},
		{"oversize is refused", func(c *config) { c.Size = 250; c.Oversize = "reject" }, strings.Repeat("x", 300) + "\n", "YWJj", "", `reject; VIRUS_UNSCANNED? 1 the message: %d octets, and 250 are scanned; 550`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startFake(t, nil)
			in := input(fmt.Sprintf(mixed, c.before, c.part, c.aft))
			r, err := checkIt(t, newCheck(t, io.Discard, c.change, f.addr), in)
			want := c.want
			if strings.Contains(want, "%d") {
				want = fmt.Sprintf(want, in.Content.Blob().Size())
			}
			if err != nil || shown(r) != want {
				t.Errorf("got  %s, %v\nwant %s", shown(r), err, want)
			}
		})
	}
}

// TestWhatIsScanned: parts decoded and the whole, each once; what was scanned lately not again, until clamd has other
// signatures.
func TestWhatIsScanned(t *testing.T) {
	f := startFake(t, nil)
	c := newCheck(t, io.Discard, nil, f.addr)
	text := fmt.Sprintf(mixed, "", "YWJj", "")
	whole := strings.ReplaceAll(text, "\n", "\r\n")
	want := func(what, text string, streams ...string) {
		t.Helper()
		if _, err := checkIt(t, c, input(text)); err != nil {
			t.Error(err)
		}
		if got := f.scanned(); fmt.Sprint(got) != fmt.Sprint(streams) {
			t.Errorf("%s: scanned %q, want %q", what, got, streams)
		}
	}
	want("first", text, "the text", "abc", whole)
	want("again", text)
	want("plain", "A: b\n\nc\n", "A: b\r\n\r\nc\r\n")
	want("encoded", "Content-Transfer-Encoding: base64\n\nYWJj\n", "Content-Transfer-Encoding: base64\r\n\r\nYWJj\r\n") // the part is known
	want("encoded, new", "Content-Transfer-Encoding: base64\n\nYWJjZA==\n", "abcd", "Content-Transfer-Encoding: base64\r\n\r\nYWJjZA==\r\n")
	m := scanner.Memory(c.(*check).pool.Servers()[0], newMemory)
	f.version = "ClamAV 1.4.3/27801/" + time.Now().Format(time.ANSIC)
	want("new signatures, not known yet", text)
	m.mu.Lock()
	m.asked = time.Now().Add(-askEvery)
	m.mu.Unlock()
	want("new signatures", text, "the text", "abc", whole)
	m.mu.Lock()
	for k, x := range m.young {
		x.at = x.at.Add(-holds)
		m.young[k] = x
	}
	m.mu.Unlock()
	want("after a while", text, "the text", "abc", whole)
	c = newCheck(t, io.Discard, func(c *config) { c.Cache = 0 }, f.addr)
	want("without a cache", text, "the text", "abc", whole)
	want("without a cache, again", text, "the text", "abc", whole)
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory
	now := time.Now()
	for i := range 1000 {
		m.found(0, sum{byte(i), byte(i >> 8)}, "x", 10, now)
		if n := len(m.young) + len(m.older); n > 10 {
			t.Fatalf("%d are kept", n)
		}
	}
	if _, ok := m.known(sum{231, 3}, now); !ok {
		t.Error("the last one is not known")
	}
}

func TestSignatureAge(t *testing.T) {
	var log bytes.Buffer
	f := startFake(t, nil)
	f.version = "ClamAV 1.4.3/27800/" + time.Now().Add(-100*time.Hour).Format(time.ANSIC)
	c := newCheck(t, &log, nil, f.addr)
	for range 2 {
		r, err := checkIt(t, c, input("A: b\n\nc\n"))
		if err != nil || shown(r) != "continue; VIRUS_OLD_SIGNATURES 1 made 100h0m0s ago" {
			t.Errorf("got %s, %v", shown(r), err)
		}
	}
	if n := strings.Count(log.String(), "signatures are old"); n != 1 {
		t.Errorf("told %d times", n)
	}
	h := c.(*check).health()
	if age := time.Since(h.Signatures); h.Breaker != "closed" || age < 99*time.Hour || age > 101*time.Hour {
		t.Errorf("health: %+v", h)
	}
	for version, known := range map[string]bool{
		"ClamAV 1.4.3": false, "ClamAV 1.4.3/1/never": false, "ClamAV 1.4.3/27800/Wed Nov  5 10:26:33 2025": true, "": false, "///": false,
	} {
		if got := !madeAt(version).IsZero(); got != known {
			t.Errorf("%q: %v", version, got)
		}
	}
}

// writerFunc is a log that does what it is told to.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestLogIsToldWithoutTheLock: a log that is slow holds up nobody else who asks.
func TestLogIsToldWithoutTheLock(t *testing.T) {
	f := startFake(t, nil)
	f.version = "ClamAV 1.4.3/27800/" + time.Now().Add(-100*time.Hour).Format(time.ANSIC)
	told := 0
	var m *memory
	c := newCheck(t, writerFunc(func(b []byte) (int, error) {
		told++
		if m.mu.TryLock() {
			m.mu.Unlock()
		} else {
			t.Error("the lock is held")
		}
		return len(b), nil
	}), nil, f.addr)
	m = scanner.Memory(c.(*check).pool.Servers()[0], newMemory)
	if _, err := checkIt(t, c, input("A: b\n\nc\n")); err != nil || told != 1 {
		t.Errorf("told %d times, %v", told, err)
	}
}

// TestPanicBesideAMessage: what panics while other servers are asked is a panic of the filter, and not of the program.
func TestPanicBesideAMessage(t *testing.T) {
	a, old := startFake(t, nil), startFake(t, nil)
	old.version = "ClamAV 1.4.3/27800/" + time.Now().Add(-100*time.Hour).Format(time.ANSIC)
	c := newCheck(t, writerFunc(func([]byte) (int, error) { panic("a fault") }), nil, a.addr, old.addr)
	defer func() {
		if err, _ := recover().(*filter.PanicError); err == nil || err.Error() != "a fault" {
			t.Errorf("panic %v", err)
		}
	}()
	r, err := checkIt(t, c, input("A: b\n\nc\n"))
	t.Errorf("got %s, %v", shown(r), err)
}

// TestOtherServers: servers that get no message are asked for their version beside one, each once a minute; one that hangs
// holds up nobody for long, and what was heard long ago says nothing.
func TestOtherServers(t *testing.T) {
	var asked atomic.Int32
	count := func(_ net.Conn, _ int, command string, _ []byte) bool { asked.Add(1); return command != "zVERSION" }
	a, old := startFake(t, nil), startFake(t, count)
	old.version = "ClamAV 1.4.3/27800/" + time.Now().Add(-100*time.Hour).Format(time.ANSIC)
	var log bytes.Buffer
	c := newCheck(t, &log, func(c *config) { c.Cache = 0 }, a.addr, old.addr, "127.0.0.1:1")
	c.(*check).grace = time.Minute // for one that answers it is enough on any machine
	ask := func(c filter.Filter) {
		t.Helper()
		for range 3 {
			if r, err := checkIt(t, c, input("A: b\n\nc\n")); err != nil || shown(r) != "continue" {
				t.Errorf("got %s, %v", shown(r), err)
			}
		}
	}
	ask(c)
	age := func() time.Duration { return time.Since(c.(*check).health().Signatures) }
	if got := age(); got < 99*time.Hour || got > 101*time.Hour || asked.Load() != 1 {
		t.Errorf("age %s, asked %d times", got, asked.Load())
	}
	if n := strings.Count(log.String(), "signatures are old"); n != 1 || !strings.Contains(log.String(), old.addr) {
		t.Errorf("told %d times: %s", n, log.String())
	}
	m := scanner.Memory(c.(*check).pool.Servers()[1], newMemory)
	m.mu.Lock()
	m.asked = time.Now().Add(-2 * knownFor)
	m.mu.Unlock()
	if got := age(); got > 2*time.Hour {
		t.Errorf("age %s of what was heard two hours ago", got)
	}
	ends := make(chan struct{})
	defer close(ends)
	hangs := startFake(t, func(net.Conn, int, string, []byte) bool { <-ends; return true })
	ask(newCheck(t, io.Discard, nil, a.addr, hangs.addr))
}

// TestNewSignaturesMeanwhile: what a scan found that began with other signatures is not remembered for these.
func TestNewSignaturesMeanwhile(t *testing.T) {
	var m *memory
	f := startFake(t, func(_ net.Conn, _ int, command string, _ []byte) bool {
		if command == "zINSTREAM" {
			m.is("ClamAV 1.4.3/27801/"+time.Now().Format(time.ANSIC), time.Now())
		}
		return false
	})
	c := newCheck(t, io.Discard, nil, f.addr)
	m = scanner.Memory(c.(*check).pool.Servers()[0], newMemory)
	for i, want := range []int{1, 1, 0} { // by the old ones, by the new ones, from memory
		if _, err := checkIt(t, c, input("A: b\n\nc\n")); err != nil {
			t.Error(err)
		}
		if got := len(f.scanned()); got != want {
			t.Errorf("%d: scanned %d times, want %d", i, got, want)
		}
	}
}

// TestHostileReplies: whatever clamd says, a message is not called clean for it, and nothing waits for ever.
func TestHostileReplies(t *testing.T) {
	stream := func(f func(c net.Conn, n int) bool) func(net.Conn, int, string, []byte) bool {
		return func(c net.Conn, n int, command string, _ []byte) bool { return command == "zINSTREAM" && f(c, n) }
	}
	say := func(format string) func(net.Conn, int, string, []byte) bool {
		return stream(func(c net.Conn, n int) bool {
			_, _ = io.WriteString(c, strings.ReplaceAll(format, "{n}", fmt.Sprint(n)))
			return true
		})
	}
	for name, answer := range map[string]func(net.Conn, int, string, []byte) bool{
		"another number": say("7: stream: OK\x00"),
		"no number":      say("stream: OK\x00"),
		"not yet OK":     say("{n}: stream: OKAY\x00"),
		"OK and more":    say("{n}: stream: OK Virus.One FOUND\x00"),
		"no name":        say("{n}: stream:  FOUND\x00"),
		"an error":       say("{n}: stream: Can't allocate memory ERROR\x00"),
		"endless":        stream(func(c net.Conn, _ int) bool { _, _ = c.Write(bytes.Repeat([]byte("x"), 1<<20)); return true }),
		"no end":         say("{n}: stream: OK"),
		"silence":        stream(func(net.Conn, int) bool { return true }),
		"closed":         stream(func(c net.Conn, _ int) bool { _ = c.Close(); return true }),
		"half of it":     stream(func(c net.Conn, n int) bool { _, _ = fmt.Fprintf(c, "%d: stre", n); _ = c.Close(); return true }),
		"controls":       say("{n}: stream: Bad\nName FOUND\x00"),
		"no clamd": func(c net.Conn, _ int, _ string, _ []byte) bool {
			_, _ = io.WriteString(c, "220 mail ESMTP\r\n\x00")
			return true
		},
		"a version of what": func(c net.Conn, n int, _ string, _ []byte) bool {
			_, _ = fmt.Fprintf(c, "%d: OtherAV\x00", n)
			return true
		},
		"slow drip": stream(func(c net.Conn, _ int) bool {
			for {
				if _, err := c.Write([]byte("1")); err != nil {
					return true
				}
				time.Sleep(10 * time.Millisecond)
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, answer)
			c := newCheck(t, io.Discard, func(c *config) { c.Cache = 0 }, f.addr)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			r, err := c.Check(ctx, input(fmt.Sprintf(mixed, "", "YWJj", "")))
			if err == nil {
				t.Errorf("got %s", shown(r))
			}
			if took := time.Since(began); took > time.Minute { // without an end of its own it takes for ever
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestOversizeReply: clamd says that a stream is too long for it, and closes the connection; that is no fault of its.
func TestOversizeReply(t *testing.T) {
	var n atomic.Int32
	f := startFake(t, func(c net.Conn, number int, command string, stream []byte) bool {
		if command != "zINSTREAM" || len(stream) < 100 {
			return false
		}
		n.Add(1)
		_, _ = fmt.Fprintf(c, "%d: INSTREAM size limit exceeded. ERROR\x00", number)
		_ = c.Close()
		return true
	})
	c := newCheck(t, io.Discard, func(c *config) { c.Faults = 1 }, f.addr)
	for range 2 {
		r, err := checkIt(t, c, input(fmt.Sprintf(mixed, "", "YWJj", "")))
		if err != nil || r.Propose != filter.Defer {
			t.Errorf("got %s, %v", shown(r), err)
		}
	}
	if n.Load() != 2 {
		t.Errorf("said %d times", n.Load())
	}
}

func TestReleasedContent(t *testing.T) {
	f := startFake(t, nil)
	c := newCheck(t, io.Discard, func(c *config) { c.Faults = 1 }, f.addr)
	in := input("A: b\n\nc\n")
	in.Content.Root()
	in.Content.Release()
	if _, err := checkIt(t, c, in); !errors.Is(err, mail.ErrReleased) {
		t.Errorf("got %v", err)
	}
	if h := c.(*check).health(); h.Breaker != "closed" {
		t.Errorf("our fault is clamd's: %s", h.Breaker)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		want   string
	}{
		{"size", func(c *config) { c.Size = 0 }, "size:"},
		{"cache", func(c *config) { c.Cache = -1 }, "cache:"},
		{"max_age", func(c *config) { c.MaxAge = -1 }, "max_age:"},
		{"action", func(c *config) { c.Signatures["x"] = "drop" }, "none of pass, tag"},
		{"pattern", func(c *config) { c.Signatures["[x"] = "tag" }, "no pattern"},
		{"no servers", func(c *config) { c.Servers = nil }, "at least one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := NewFactory().New(filter.Env{Log: slog.New(slog.DiscardHandler)}, func(v any) error { c.change(v.(*config)); return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzReply reads replies: none but one is clean, and none is a name with blanks.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"1: stream: OK", "1: stream: Test.Eicar FOUND", "1: stream: x ERROR", "1: INSTREAM size limit exceeded. ERROR", "2: stream: OK", "1: stream:  FOUND", "1: ", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		said, err := parseReply(s, 1)
		if err != nil {
			return
		}
		name, err := parseScan(said)
		if err == nil && name == "" && s != "1: stream: OK" {
			t.Errorf("%q is called clean", s)
		}
		if strings.ContainsAny(name, " \n") || err != nil && name != "" {
			t.Errorf("%q gives %q, %v", s, name, err)
		}
	})
}

// unsure marks a finding that stands for what was not found out.
func unsure(f filter.Finding) string {
	if f.Unknown {
		return "?"
	}
	return ""
}
