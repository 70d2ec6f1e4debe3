package edge

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// fakeRelay remembers what it was given and answers as it is told.
type fakeRelay struct {
	mu     sync.Mutex
	got    []delivered
	answer func(mail.Envelope) upstream.Outcome // nil: Delivered
	cached map[string]mail.Reply
	before func() // called at the beginning of Deliver
	one    bool   // OneRecipient
	dsn    bool   // it offers DSN
	forget bool   // what it was given is not kept
}

type delivered struct {
	env     mail.Envelope
	content string
}

func (f *fakeRelay) Deliver(_ context.Context, env mail.Envelope, m *mail.Message) upstream.Outcome {
	if f.before != nil {
		f.before()
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return upstream.Outcome{Err: err}
	}
	out := upstream.Outcome{Kind: upstream.Delivered, Server: "backend:25", Reply: mail.NewReply(250, 2, 0, 0, "backend has it"), Stage: upstream.StageDot, DSN: f.dsn}
	if f.answer != nil {
		out = f.answer(env)
	}
	if out.Kind == upstream.Delivered && !f.forget {
		f.mu.Lock()
		f.got = append(f.got, delivered{env, b.String()})
		f.mu.Unlock()
	}
	return out
}

func (f *fakeRelay) Cached(a mail.Address) (mail.Reply, bool) {
	r, ok := f.cached[a.String()]
	return r, ok
}

func (f *fakeRelay) OneRecipient() bool { return f.one }

func (f *fakeRelay) all() []delivered {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]delivered(nil), f.got...)
}

// fakeRecipients knows some mailboxes.
type fakeRecipients struct{ err error }

func (f fakeRecipients) Lookup(_ context.Context, a mail.Address) (upstream.Known, error) {
	if f.err != nil {
		return upstream.NoSource, f.err
	}
	switch a.Mailbox() {
	case "known@file.example", "odd%name@file.example", "odd name@file.example":
		return upstream.Yes, nil
	}
	return upstream.No, nil
}

// fakeQuarantine remembers what it keeps. It recognises a message by its size and recipients.
type fakeQuarantine struct {
	mu      sync.Mutex
	kept    []Held
	err     error
	dropErr error
}

func (q *fakeQuarantine) Keep(_ context.Context, h Held, b *mail.Blob) (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return "", q.err
	}
	if b.Size() != h.Size {
		return "", errors.New("size")
	}
	for _, k := range q.kept {
		if h.Kind == HeldQuarantine && k.Kind == h.Kind && k.Size == h.Size && slices.Equal(k.To, h.To) {
			return k.ID, nil
		}
	}
	q.kept = append(q.kept, h)
	return h.ID, nil
}

func (q *fakeQuarantine) Drop(_ context.Context, id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropErr != nil {
		return q.dropErr
	}
	n := len(q.kept)
	q.kept = slices.DeleteFunc(q.kept, func(h Held) bool { return h.ID == id && h.Kind == HeldOriginal })
	if len(q.kept) != n-1 {
		return errors.New("nothing to drop")
	}
	return nil
}

func (q *fakeQuarantine) all() []Held {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.kept)
}

// fakeMetrics counts panics and rejects, and checks labels.
type fakeMetrics struct {
	noMetrics
	mu       sync.Mutex
	panics   int
	rejects  map[string]int
	commands map[string]int
	open     int
	refused  int
	tls      string
	strange  []string

	handshakes []string
	auths      map[string]int
	talks      map[string]int
	repeats    map[string]int
	waits      int
}

func (m *fakeMetrics) Tarpit(string) { m.mu.Lock(); m.waits++; m.mu.Unlock() }

func (m *fakeMetrics) EarlyTalk(_, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(EarlyResults(), result)
	if m.talks == nil {
		m.talks = map[string]int{}
	}
	m.talks[result]++
}

func (m *fakeMetrics) Again(_, first string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(Agains(), first)
	if m.repeats == nil {
		m.repeats = map[string]int{}
	}
	m.repeats[first]++
}

func (m *fakeMetrics) TLSHandshake(_, version, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handshakes = append(m.handshakes, version+" "+result)
}

func (m *fakeMetrics) Panic() { m.mu.Lock(); m.panics++; m.mu.Unlock() }
func (m *fakeMetrics) Reject(_, stage string, r mail.Reply, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(Stages(), stage)
	m.label(Reasons(), reason)
	own := func(o OwnReject) bool {
		same := func(own mail.Reply) bool { return own.Code == r.Code && own.Enhanced == r.Enhanced }
		return o.Stage == stage && o.Reason == reason && (same(o.Reply) || same(o.Reply.Soft()))
	}
	if reason != ReasonFilter && reason != ReasonUpstream && !slices.ContainsFunc(OwnRejects(), own) {
		m.strange = append(m.strange, fmt.Sprintf("%s %s %s is none of OwnRejects", stage, reason, r))
	}
	m.rejects[fmt.Sprintf("%s %d %s", stage, r.Code, reason)]++
}

func (m *fakeMetrics) Auth(_, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(AuthResults(), result)
	if m.auths == nil {
		m.auths = map[string]int{}
	}
	m.auths[result]++
}

func (m *fakeMetrics) Command(_, verb string, code int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label(Verbs(), verb)
	m.commands[fmt.Sprintf("%s %d", verb, code)]++
}

func (m *fakeMetrics) Recipient(result, source string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label([]string{RecipientAccepted, RecipientUnknown, RecipientRelay, RecipientDeferred, RecipientOverLimit, RecipientRefused}, result)
	m.label([]string{SourceNone, SourceStatic, SourceCache}, source)
}

func (m *fakeMetrics) Message(_ string, _ filter.Action, changed string, _ bool, _ int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.label([]string{ChangedNo, ChangedStripped, ChangedRebuilt}, changed)
}

// label remembers a label that is not of its closed set.
func (m *fakeMetrics) label(set []string, l string) {
	if !slices.Contains(set, l) {
		m.strange = append(m.strange, l)
	}
}

func (m *fakeMetrics) ConnectionOpened(string) { m.mu.Lock(); m.open++; m.mu.Unlock() }
func (m *fakeMetrics) ConnectionClosed(_, tls string, _ time.Duration) {
	m.mu.Lock()
	m.open--
	m.tls = tls
	m.mu.Unlock()
}
func (m *fakeMetrics) ConnectionRejected(string, string) { m.mu.Lock(); m.refused++; m.mu.Unlock() }

// logBuffer is where the log goes.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.b.String(), "\n"), "\n")
}

// scripted is a filter that does in its phase what one line of a dialog file says:
//
//	PHASE propose reject|defer|quarantine|tag [hold] [CODE TEXT]
//	PHASE tell (a fact) | told (rejects if the fact is known)
//	PHASE error | panic | score SYMBOL N | strip PATH | remove PATH | rcptscore LOCAL SYMBOL | spf RESULT MECHANISM | dkim RESULT DOMAIN
func scripted(t testing.TB, line string) pipeline.Stage {
	w := strings.Fields(line)
	var phase filter.Phase
	found := false
	for _, p := range filter.AllPhases() {
		if p.String() == w[0] {
			phase, found = p, true
		}
	}
	if !found || len(w) < 2 {
		t.Fatalf("no phase in filter line %q", line)
	}
	var symbols []filter.Symbol
	var provides, needs []string
	const told = filter.Key[string]("told")
	switch w[1] {
	case "tell":
		provides = []string{string(told)}
	case "told":
		needs = []string{string(told)}
	case "spf":
		provides = []string{string(auth.SPF)}
	case "dkim":
		provides = []string{string(auth.DKIM)}
	}
	if strings.HasSuffix(line, "dropping") {
		provides = []string{string(auth.KeepOriginal)}
	}
	if w[1] == "score" {
		var weight float64
		fmt.Sscan(w[3], &weight)
		symbols = []filter.Symbol{{Name: w[2], Weight: weight, Description: "test"}}
	}
	if w[1] == "rcptscore" {
		symbols = []filter.Symbol{{Name: w[3], Weight: 1, Description: "test"}}
	}
	check := func(_ context.Context, in *filter.Input) (filter.Result, error) {
		var r filter.Result
		switch w[1] {
		case "propose":
			for _, a := range filter.AllActions() {
				if a.String() == w[2] {
					r.Propose = a
				}
			}
			rest := w[3:]
			if len(rest) > 0 && rest[0] == "hold" {
				r.Hold, rest = true, rest[1:]
			}
			if len(rest) > 1 {
				var code int
				fmt.Sscan(rest[0], &code)
				reply := mail.NewReply(code, code/100, 7, 1, strings.ReplaceAll(strings.Join(rest[1:], " "), `\n`, "\n"))
				r.Reply = &reply
			}
		case "tell":
			r.Facts = []filter.Fact{told.Of("something")}
		case "told":
			if _, ok := told.From(in); ok {
				r.Propose = filter.Reject
			}
		case "spf": // PHASE spf RESULT MECHANISM
			r.Facts = []filter.Fact{auth.SPF.Of(auth.SPFResult{
				Result: auth.Result(w[2]), Domain: in.Transaction.From.Domain(), Identity: "mailfrom", Mechanism: w[3],
			})}
		case "dkim": // PHASE dkim RESULT DOMAIN
			r.Facts = []filter.Fact{auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Result(w[2]), Domain: w[3]}})}
		case "error":
			return r, errors.New("out of order")
		case "panic":
			panic("filter is broken")
		case "score":
			r.Findings = []filter.Finding{{Symbol: w[2], Strength: 1}}
		case "rcptscore":
			if in.Recipient.Address.Local() == w[2] {
				r.Findings = []filter.Finding{{Symbol: w[3], Strength: 1}}
			}
		case "strip":
			r.Edits = []mail.Edit{mail.ReplacePart{Path: w[2], Header: []mail.AddField{{Name: "Content-Type", Body: "text/plain"}}, Body: []byte("removed\r\n")}}
			if len(w) > 3 && w[3] == "dropping" {
				r.Facts = []filter.Fact{auth.KeepOriginal.Of(false)}
			}
		}
		return r, nil
	}
	return pipeline.Stage{
		Spec:   filter.Spec{Name: "s" + w[0] + w[1] + fmt.Sprint(time.Now().UnixNano()), Phases: filter.In(phase), Symbols: symbols, Needs: needs, Provides: provides},
		Filter: filter.Func(check),
	}
}

// door is a server under test and everything around it.
type door struct {
	t          testing.TB
	srv        *Server
	addr       string
	relay      *fakeRelay
	second     *fakeRelay
	quarantine *fakeQuarantine
	spool      *fakeSpool // nil: none
	metrics    *fakeMetrics
	log        *logBuffer
	gw         *Gateway // the first one
	current    atomic.Pointer[Gateway]
	served     chan error
	users      string // the text of the file of users
	usersFile  string
	clearAuth  bool // AUTH is offered in clear
}

// newDoor makes a gateway for ours.example, second.example and file.example; change may set anything
// before it starts.
func newDoor(t testing.TB, filters []string, change func(*door, *ListenerConfig)) *door {
	d := makeDoor(t, filters, change)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	go func() { d.served <- d.srv.Serve(l) }()
	t.Cleanup(d.stop)
	return d
}

// makeDoor makes it without listening.
func makeDoor(t testing.TB, filters []string, change func(*door, *ListenerConfig)) *door {
	d := &door{
		t: t, relay: &fakeRelay{}, second: &fakeRelay{}, quarantine: &fakeQuarantine{}, log: &logBuffer{},
		metrics: &fakeMetrics{rejects: map[string]int{}, commands: map[string]int{}}, served: make(chan error, 1),
	}
	var stages []pipeline.Stage
	for _, f := range filters {
		stages = append(stages, scripted(t, f))
	}
	plan, err := pipeline.Compile(stages)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string]float64{}
	for name, s := range plan.Symbols() {
		weights[name] = s.Weight
	}
	tag, reject := 5.0, 15.0
	judge := &pipeline.Policy{Name: "default", Weights: weights, Tag: &tag, Reject: &reject}
	table, err := upstream.NewTable([]upstream.Rule{
		{To: []string{"ours.example", "*.ours.example"}, Route: upstream.Route{Name: "ours", Upstream: "one", Policy: "default"}},
		{To: []string{"second.example"}, Route: upstream.Route{Name: "second", Upstream: "two", Policy: "default"}},
		{To: []string{"file.example"}, Route: upstream.Route{Name: "file", Upstream: "one", Policy: "default"}},
		{To: []string{"lost.example"}, Route: upstream.Route{Name: "lost", Upstream: "none", Policy: "default"}},
		{To: []string{"policyless.example"}, Route: upstream.Route{Name: "policyless", Upstream: "one", Policy: "none"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.gw = &Gateway{
		Hostname: "mx.example.org", Node: "mx", Postmaster: "admin@ours.example",
		Plan: plan, Policy: judge,
		Policies:   map[string]*Policy{"default": {Plan: plan, Policy: judge}},
		Router:     table,
		Relays:     map[string]upstream.Relay{"one": d.relay, "two": d.second},
		Recipients: map[string]upstream.Recipients{"file": fakeRecipients{}},
		ExemptRecipients: func(a mail.Address) bool {
			return strings.EqualFold(a.Local(), "postmaster") || strings.EqualFold(a.Local(), "abuse") ||
				a.Local() == "abuse%elsewhere"
		},
		ExemptNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Quarantine:     d.quarantine,
		TempDir:        t.TempDir(),
		Log:            slog.New(slog.NewJSONHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics:        d.metrics,
	}
	cfg := ListenerConfig{Name: "public", TLS: serverTLS(t)}
	if change != nil {
		change(d, &cfg)
	}
	d.current.Store(d.gw)
	d.srv = NewServer(cfg, d.current.Load)
	return d
}

func (d *door) stop() {
	_ = d.srv.Close()
	if err := <-d.served; err != nil {
		d.t.Errorf("Serve: %v", err)
	}
	d.served <- nil
	if len(d.metrics.strange) > 0 {
		d.t.Errorf("labels of no closed set: %q", d.metrics.strange)
	}
	known := append(Keys(), "time", "level", "msg")
	for _, line := range d.log.lines() {
		var fields map[string]any
		if line != "" && json.Unmarshal([]byte(line), &fields) != nil {
			d.t.Errorf("log line is no JSON: %s", line)
		}
		for k := range fields {
			if !slices.Contains(known, k) {
				d.t.Errorf("log key %q is not in Keys: %s", k, line)
			}
		}
	}
}

var serverCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.org"}, DNSNames: []string{"mx.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS(testing.TB) func() *tls.Config {
	cfg := &tls.Config{Certificates: []tls.Certificate{serverCertificate()}, MinVersion: tls.VersionTLS12}
	return func() *tls.Config { return cfg }
}
