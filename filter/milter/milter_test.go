package milter

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// packet makes one.
func packet(cmd byte, data ...any) []byte {
	var b []byte
	for _, d := range data {
		switch d := d.(type) {
		case string:
			b = append(b, d...)
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(d))
		}
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(1+len(b)))
	return append(append(out, cmd), b...)
}

// fake is a milter that answers each command as it is told to, else with continue.
type fake struct {
	addr    string
	options int
	answers map[byte][]byte // by command

	mu   sync.Mutex
	said []string
}

func startFake(t *testing.T, options int, answers map[byte][]byte) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := &fake{addr: l.Addr().String(), options: options, answers: answers}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *fake) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	w := wire{conn: c}
	for {
		cmd, data, err := w.read()
		if err != nil {
			return
		}
		f.mu.Lock()
		if cmd != cmdNegotiate {
			f.said = append(f.said, fmt.Sprintf("%c %.200q", cmd, data))
		}
		f.mu.Unlock()
		answer, told := f.answers[cmd]
		switch {
		case told:
		case cmd == cmdNegotiate:
			answer = packet(cmdNegotiate, 6, 0x1ff, f.options)
		case cmd == cmdMacro, cmd == cmdQuit:
		default:
			answer = packet(actContinue)
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func (f *fake) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said
}

func newCheck(t *testing.T, change func(*config), servers ...string) filter.Filter {
	t.Helper()
	_, f, err := NewFactory().New(filter.Env{Name: "milter", Hostname: "mx.example.org", Log: slog.New(slog.DiscardHandler)}, func(v any) error {
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

const message = "Subject:  x\r\n y\r\nX-A: 1\r\nContent-Type: text/plain\r\nX-A: 2\r\n\r\nbody\r\n"

func input(t *testing.T) *filter.Input {
	t.Helper()
	address := func(s string) mail.Address {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	return &filter.Input{
		Phase: filter.Data, Session: &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:4711"), Helo: "client.example", User: "u", ESMTP: true},
		Transaction: &filter.Transaction{ID: "mx-1", From: address("a@b.example"), Recipients: []mail.Address{address("c@d.example"), address("e@d.example")}, Began: time.Unix(0, 0).UTC()},
		Content:     mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{}),
	}
}

// shown writes a result for comparison.
func shown(r filter.Result) string {
	var b strings.Builder
	b.WriteString(r.Propose.String())
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "; %s %g %s", f.Symbol+unsure(f), f.Strength, f.Detail)
	}
	for _, e := range r.Edits {
		fmt.Fprintf(&b, "; %#v", e)
	}
	if r.Reply != nil {
		fmt.Fprintf(&b, "; %s", r.Reply)
	}
	return strings.ReplaceAll(b.String(), "mail.", "")
}

func join(all ...[]byte) []byte { return bytes.Join(all, nil) }

func TestAnswers(t *testing.T) {
	end := func(all ...[]byte) map[byte][]byte {
		return map[byte][]byte{cmdEnd: append(join(all...), packet(actContinue)...)}
	}
	expects := func(c *config) { c.Expect = []string{"X-C", "X-A"} }
	for _, c := range []struct {
		name    string
		change  func(*config)
		answers map[byte][]byte
		want    string // "" for an error
	}{
		{"nothing", nil, nil, "continue"},
		{"an old one, which does not know DATA", nil, map[byte][]byte{cmdNegotiate: packet(cmdNegotiate, 3, 0x1f, 0), cmdData: packet(actReject)}, "continue"},
		{"accept at once", nil, map[byte][]byte{cmdConnect: packet(actAccept)}, "continue"},
		{"accept at the end", nil, map[byte][]byte{cmdEnd: packet(actAccept)}, "continue"},
		{"progress", nil, map[byte][]byte{cmdEnd: join(packet(actProgress), packet(actProgress), packet(actContinue))}, "continue"},
		{"reject", nil, map[byte][]byte{cmdHelo: packet(actReject)}, "reject; MILTER 1 reject"},
		{"tempfail", nil, map[byte][]byte{cmdMail: packet(actTempFail)}, "defer; MILTER 1 tempfail"},
		{"discard", nil, map[byte][]byte{cmdEnd: packet(actDiscard)}, "quarantine; MILTER 1 discard"},
		{"reply code", nil, map[byte][]byte{cmdRcpt: packet(actReplyCode, "550 5.1.1 no such one\x00")}, "reject; MILTER 1 reply 550 5.1.1 no such one; 550 5.1.1 no such one"},
		{"reply code, several lines", nil, map[byte][]byte{cmdEnd: packet(actReplyCode, "451-4.7.1 come\r\n451 4.7.1 later\x00")}, "defer; MILTER 1 reply 451 4.7.1 come later; 451 4.7.1 come later"},
		{"reply code without more", nil, map[byte][]byte{cmdEnd: packet(actReplyCode, "554\x00")}, "reject; MILTER 1 reply 554 5.7.1 message refused; 554 5.7.1 message refused"},
		{"quarantine", nil, end(packet(actQuarantine, "odd\n\x00")), "quarantine; MILTER 1 quarantine: odd"},
		{
			"fields", nil, end(
				packet(actAddHeader, "X-B\x00b\n\tc\x00"), packet(actInsert, 0, "X-C\x00c\x00"), packet(actInsert, 1, "X-D\x00d\x00"),
				packet(actChange, 2, "x-a\x00new\x00"), packet(actChange, 1, "X-A\x00\x00"), packet(actChange, 3, "X-A\x00three\x00"), packet(actChange, 9, "X-E\x00\x00")),
			`continue; AddField{Name:"X-C", Body:"c"}; AddField{Name:"X-D", Body:"d"}; AddField{Name:"X-B", Body:"b\r\n\tc"}; AddField{Name:"X-A", Body:"three"}; RemoveField{Index:1}; ReplaceField{Index:3, Body:"new"}`,
		},
		{"fields of a refusal", nil, map[byte][]byte{cmdEnd: join(packet(actAddHeader, "X-B\x00b\x00"), packet(actReject))}, "reject; MILTER 1 reject"},
		{"no fields", func(c *config) { c.Headers = headersNone }, end(packet(actAddHeader, "X-B\x00b\x00")), "continue"},
		{"a field of its own", nil, end(packet(actAddHeader, "X-B\x00b\nBcc: x\x00")), "continue; MILTER_IGNORED 1 field X-B: a line that begins a field of its own"},
		{"no field", nil, end(packet(actAddHeader, "X B\x00b\x00")), "continue; MILTER_IGNORED 1 a field X B"},
		{"a long field", nil, end(packet(actAddHeader, "X-B\x00"+strings.Repeat("b\n ", 10000)+"\x00"), packet(actAddHeader, "X-C\x00c\x00")), `continue; MILTER_IGNORED 1 field X-B: more than 16384 octets; AddField{Name:"X-C", Body:"c"}`},
		{"a long name", nil, end(packet(actAddHeader, strings.Repeat("X", 100)+"\x00b\x00")), "continue; MILTER_IGNORED 1 a field " + strings.Repeat("X", 80) + "…"},
		{"a long field where none is wanted", func(c *config) { c.Headers = headersNone }, end(packet(actAddHeader, "X-B\x00"+strings.Repeat("b\n ", 10000)+"\x00")), "continue"},
		{"another way", nil, end(packet(actAddHeader, "Received\x00b\x00")), "continue; MILTER_IGNORED 1 to change Received"},
		{"the same structure", nil, end(packet(actChange, 1, "Content-Type\x00text/plain\x00")), "continue"},
		{"another structure, let off", func(c *config) { c.Body = bodyIgnore }, end(packet(actChange, 1, "Content-Type\x00text/html\x00")), "continue; MILTER_IGNORED 1 another body, or another structure"},
		{"another body, let off", func(c *config) { c.Body = bodyIgnore }, end(packet(actReplaceBody, "x"), packet(actReplaceBody, "y")), "continue; MILTER_IGNORED 1 another body, or another structure"},
		{
			"another envelope", nil, end(packet(actAddRcpt, "<x@y>\x00"), packet(actDelRcpt, "<c@d.example>\x00"), packet(actChangeFrom, "<z@y>\x00"), packet(actAddRcptPar, "<w@y>\x00a=b\x00")),
			"continue; MILTER_IGNORED 1 to add a recipient <x@y>; to remove a recipient <c@d.example>; another reverse-path <z@y>; to add a recipient <w@y>",
		},

		{"expected", expects, end(packet(actAddHeader, "x-c\x00c\x00")), `continue; AddField{Name:"x-c", Body:"c"}`},
		{"expected, and changed", expects, end(packet(actChange, 1, "X-A\x00c\x00")), `continue; ReplaceField{Index:1, Body:"c"}`},
		{"expected, and refused", expects, end(packet(actReject)), "reject; MILTER 1 reject"},

		{"expected, and not there", expects, end(packet(actAddHeader, "X-B\x00c\x00")), ""},
		{"expected, and taken off", expects, end(packet(actChange, 1, "X-A\x00\x00")), ""},
		{"expected of one that accepts at once", expects, map[byte][]byte{cmdConnect: packet(actAccept)}, ""},
		{"another body", nil, end(packet(actReplaceBody, "x")), ""},
		{"another structure", nil, end(packet(actInsert, 0, "Content-Type\x00text/html\x00")), ""},
		{"shutdown", nil, map[byte][]byte{cmdConnect: packet(actShutdown)}, ""},
		{"a change too early", nil, map[byte][]byte{cmdHeader: packet(actAddHeader, "X\x00b\x00")}, ""},
		{"skip of no body", nil, map[byte][]byte{cmdHeader: packet(actSkip)}, ""},
		{"an unknown answer", nil, map[byte][]byte{cmdEnd: packet('Z')}, ""},
		{"no length", nil, map[byte][]byte{cmdHelo: {0, 0, 0, 0, 'c'}}, ""},
		{"a great length", nil, map[byte][]byte{cmdHelo: {0xff, 0xff, 0xff, 0xff, 'c'}}, ""},
		{"half a packet", nil, map[byte][]byte{cmdHelo: {0, 0, 0, 9, 'y', '5'}}, ""},
		{"text", nil, map[byte][]byte{cmdNegotiate: []byte("220 mail ESMTP\r\n")}, ""},
		{"version 1", nil, map[byte][]byte{cmdNegotiate: packet(cmdNegotiate, 1, 0, 0)}, ""},
		{"options not offered", nil, map[byte][]byte{cmdNegotiate: packet(cmdNegotiate, 6, 0, 0x200000)}, ""},
		{"a short offer", nil, map[byte][]byte{cmdNegotiate: packet(cmdNegotiate, 6, 0)}, ""},
		{"a positive reply", nil, map[byte][]byte{cmdEnd: packet(actReplyCode, "250 ok\x00")}, ""},
		{"two codes", nil, map[byte][]byte{cmdEnd: packet(actReplyCode, "550-a\r\n250 ok\x00")}, ""},
		{"no reply", nil, map[byte][]byte{cmdEnd: packet(actReplyCode, "\x00")}, ""},
		{"a text without an end", nil, map[byte][]byte{cmdEnd: packet(actReplyCode, "550 x")}, ""},
		{"a field without a value", nil, end(packet(actAddHeader, "X\x00")), ""},
		{"an index without a field", nil, end(packet(actChange, 1)), ""},
		{"endless progress", nil, map[byte][]byte{cmdEnd: bytes.Repeat(packet(actProgress), maxCount+1)}, ""},
		{"changes of many octets", nil, end(bytes.Repeat(packet(actAddHeader, "X\x00"+strings.Repeat("b\n ", 5000)+"\x00"), 80)), ""},
		{"endless changes", nil, end(bytes.Repeat(packet(actAddHeader, "X\x00b\x00"), maxChanges+10)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startFake(t, 0, c.answers)
			limit := time.Minute
			if c.want == "" {
				limit = time.Second // some would wait for ever
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			in := input(t)
			r, err := newCheck(t, c.change, f.addr).Check(ctx, in)
			if c.want == "" && err == nil || c.want != "" && (err != nil || shown(r) != c.want) {
				t.Fatalf("got  %s, %v\nwant %s", shown(r), err, c.want)
			}
			if _, err := mail.Rewrite(in.Content, r.Edits, false); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for want, expect := range map[string][]string{"expect: 17 of them": slices.Repeat([]string{"X"}, 17), `expect: "X Y" is no name`: {"X Y"}} {
		_, _, err := NewFactory().New(filter.Env{Log: slog.New(slog.DiscardHandler)}, func(v any) error {
			c := v.(*config)
			c.Servers, c.Expect = []string{"a:1"}, expect
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
}

// TestDialog: a milter hears the whole session, with macros, and only what it wants to hear.
func TestDialog(t *testing.T) {
	all := []string{
		`D "Cj\x00mx.example.org\x00v\x00Postern\x00_\x00[192.0.2.1] [192.0.2.1]\x00{client_addr}\x00192.0.2.1\x00{client_port}\x004711\x00{client_name}\x00unknown\x00{client_ptr}\x00unknown\x00{client_resolve}\x00FAIL\x00"`,
		`C "[192.0.2.1]\x004\x12g192.0.2.1\x00"`,
		`H "client.example\x00"`,
		`D "Mi\x00mx-1\x00r\x00ESMTP\x00b\x00Thu, 01 Jan 1970 00:00:00 +0000\x00s\x00client.example\x00{auth_authen}\x00u\x00{mail_addr}\x00a@b.example\x00{mail_host}\x00b.example\x00{mail_mailer}\x00esmtp\x00"`,
		`M "<a@b.example>\x00"`,
		`D "R{rcpt_addr}\x00c@d.example\x00{rcpt_host}\x00d.example\x00{rcpt_mailer}\x00esmtp\x00"`,
		`R "<c@d.example>\x00"`,
		`D "R{rcpt_addr}\x00e@d.example\x00{rcpt_host}\x00d.example\x00{rcpt_mailer}\x00esmtp\x00"`,
		`R "<e@d.example>\x00"`,
		`D "Ti\x00mx-1\x00"`,
		`T ""`,
		`L "Subject\x00 x\n y\x00"`, `L "X-A\x001\x00"`, `L "Content-Type\x00text/plain\x00"`, `L "X-A\x002\x00"`,
		`N ""`,
		`B "body\r\n"`,
		`D "Ei\x00mx-1\x00"`,
		`E ""`,
		`Q ""`,
	}
	for _, c := range []struct {
		name    string
		options int
		want    func(string) (string, bool)
	}{
		{"all", 0, func(s string) (string, bool) { return s, true }},
		{"blanks", leadingPass, func(s string) (string, bool) {
			if s[0] == 'L' {
				s = strings.Replace(s, `\x00`, `\x00 `, 1)
			}
			return s, true
		}},
		{"no body, no fields", noBody | noHeader | noEndHeader, func(s string) (string, bool) { return s, !strings.ContainsRune("LNB", rune(s[0])) }},
		{"the end alone", noConnect | noHelo | noMail | noRcpt | noData | noBody | noHeader | noEndHeader, func(s string) (string, bool) {
			return s, strings.ContainsRune("EQ", rune(s[0])) || strings.HasPrefix(s, `D "E`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startFake(t, c.options, nil)
			if _, err := newCheck(t, nil, f.addr).Check(t.Context(), input(t)); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, s := range all {
				if s, ok := c.want(s); ok {
					want = append(want, s)
				}
			}
			for end := time.Now().Add(time.Minute); len(f.heard()) < len(want) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if got := strings.Join(f.heard(), "\n"); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

// TestSkip: a milter that has seen enough of a body gets no more of it, and one that answers nothing is not waited for.
func TestSkip(t *testing.T) {
	big := "A: b\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 5000)
	for name, c := range map[string]struct {
		options int
		answers map[byte][]byte
		bodies  int
	}{
		"whole":      {0, nil, (5000*78 + chunk - 1) / chunk},
		"skip":       {skips, map[byte][]byte{cmdBody: packet(actSkip)}, 1},
		"no answers": {nrHeader | nrConnect | nrHelo | nrMail | nrRcpt | nrData | nrEndHeader | nrBody, map[byte][]byte{cmdConnect: {}, cmdHelo: {}, cmdMail: {}, cmdRcpt: {}, cmdData: {}, cmdHeader: {}, cmdEndHeader: {}, cmdBody: {}}, (5000*78 + chunk - 1) / chunk},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, c.options, c.answers)
			in := input(t)
			in.Content = mail.NewContent(mail.NewBlob([]byte(big)), mail.LineFaults{}, mail.Limits{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := newCheck(t, nil, f.addr).Check(ctx, in); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, s := range f.heard() {
				if s[0] == 'B' {
					n++
				}
			}
			if n != c.bodies {
				t.Errorf("%d packets of the body, not %d", n, c.bodies)
			}
		})
	}
}

// TestWhatIsKept: however much a milter wants, little of it is kept, and none of what can't be done.
func TestWhatIsKept(t *testing.T) {
	var v verdict
	for name, value := range map[string]string{"X-A": strings.Repeat("a", maxPacket), strings.Repeat("X", maxPacket): "b"} {
		for range maxChanges / 4 {
			if err := v.wants(actAddHeader, texts(name, value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	total, err := 0, error(nil)
	for range maxChanges / 2 {
		if err = v.wants(actAddHeader, texts("X-A", strings.Repeat("a\n ", 5000))); err != nil {
			break
		}
	}
	for _, c := range v.changes {
		total += len(c.name) + len(c.value) + len(c.fault)
	}
	if err == nil || total > maxKept+100*maxChanges {
		t.Errorf("%d octets are kept, %v", total, err)
	}
}

// TestNobodyIsKnown: a message that is only looked at has no session.
func TestNobodyIsKnown(t *testing.T) {
	f := startFake(t, 0, nil)
	in := &filter.Input{Phase: filter.Data, Content: mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})}
	if r, err := newCheck(t, nil, f.addr).Check(t.Context(), in); err != nil || shown(r) != "continue" {
		t.Errorf("%s, %v", shown(r), err)
	}
}

// pipe is a connection that reads what is prepared, and takes what is written.
type pipe struct {
	net.Conn
	io.Reader
}

func (p pipe) Read(b []byte) (int, error)  { return p.Reader.Read(b) }
func (p pipe) Write(b []byte) (int, error) { return len(b), nil }

// FuzzDialog has a milter say anything: what comes of it is bounded, its reply fits its action, and its edits can be carried out.
func FuzzDialog(f *testing.F) {
	offer := packet(cmdNegotiate, 6, 0x1ff, nrConnect|nrHelo|nrMail|nrRcpt|nrData|nrHeader|nrEndHeader|nrBody)
	f.Add(append(offer, packet(actContinue)...))
	f.Add(join(offer, packet(actAddHeader, "X-B\x00b\n\tc\x00"), packet(actInsert, 0, "X-C\x00c\x00"), packet(actChange, 1, "X-A\x00\x00"), packet(actContinue)))
	f.Add(join(offer, packet(actQuarantine, "x\x00"), packet(actReplyCode, "550 5.7.1 x\x00")))
	f.Add(join(packet(cmdNegotiate, 6, 0, 0), packet(actProgress), packet(actReject)))
	c := &check{config: config{Body: bodyIgnore, Headers: headersAll}}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := input(&testing.T{})
		d := dialog{wire: wire{conn: pipe{Reader: bytes.NewReader(b)}}, in: in}
		if d.run() != nil {
			return
		}
		r, err := c.result(&d.verdict, in.Content)
		if err != nil {
			t.Fatal(err)
		}
		if r.Reply != nil && (r.Propose == filter.Reject) != r.Reply.Permanent() {
			t.Errorf("%s: %v", r.Propose, r.Reply)
		}
		out, err := mail.Rewrite(in.Content, r.Edits, false)
		if err != nil {
			t.Fatalf("%q: %v", r.Edits, err)
		}
		if h, err := out.Header(mail.Limits{}); err != nil || len(h.Fields()) > 4+len(r.Edits) {
			t.Errorf("%d fields, %v", len(h.Fields()), err)
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
