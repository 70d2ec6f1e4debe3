package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/dsn"
	"github.com/postern-mail/postern/upstream"
)

// relay is a server: it answers by a script, and keeps what it takes.
type relay struct {
	mu         sync.Mutex
	answer     func(env mail.Envelope) upstream.Outcome // nil: takes all
	one        bool
	identifies bool
	takes      time.Duration
	open       int // transactions at the moment
	most       int
	tries      int
	got        []got
}

type got struct {
	id      string
	from    string
	to      []string
	content string
	at      time.Time
}

// Deliver implements upstream.Relay.
func (r *relay) Deliver(ctx context.Context, env mail.Envelope, m *mail.Message) upstream.Outcome {
	r.mu.Lock()
	r.tries++
	r.open++
	r.most = max(r.most, r.open)
	answer, takes := r.answer, r.takes
	r.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
	}
	o := upstream.Outcome{Kind: upstream.Delivered, Stage: upstream.StageDot, Server: "in:25", Reply: mail.NewReply(250, 2, 0, 0, "Ok")}
	if answer != nil {
		o = answer(env)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	if o.Kind == upstream.Delivered {
		var b strings.Builder
		if _, err := m.WriteTo(&b); err != nil {
			return upstream.Outcome{Kind: upstream.OurFault, Stage: upstream.StageContent, Err: err}
		}
		g := got{id: env.ID, from: env.From.String(), content: b.String(), at: time.Now()}
		for _, a := range env.To {
			g.to = append(g.to, a.String())
		}
		r.got = append(r.got, g)
	}
	return o
}

func (r *relay) OneRecipient() bool { return r.one }
func (r *relay) Identifies() bool   { return r.identifies }

func (r *relay) is(answer func(mail.Envelope) upstream.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *relay) slow(takes time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takes = takes
}

func (r *relay) taken() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func down(mail.Envelope) upstream.Outcome {
	return upstream.Outcome{Kind: upstream.Unreachable, Stage: upstream.StageDial, Server: "in:25", Err: fmt.Errorf("connection refused")}
}

// refuses answers RCPTs: a reply for each address that is refused.
func refuses(replies map[string]mail.Reply) func(mail.Envelope) upstream.Outcome {
	return func(env mail.Envelope) upstream.Outcome {
		o := upstream.Outcome{Kind: upstream.Delivered, Stage: upstream.StageDot, Server: "in:25", Reply: mail.NewReply(250, 2, 0, 0, "Ok")}
		for _, a := range env.To {
			if r, no := replies[a.String()]; no {
				if o.Refused == nil {
					o.Refused = map[mail.Address]mail.Reply{}
				}
				o.Refused[a], o.Kind, o.Stage, o.Reply = r, upstream.RecipientRefused, upstream.StageRcpt, r
			}
		}
		return o
	}
}

// disk is a spool, some of whose calls may fail.
type disk struct {
	*spool.Store
	mu    sync.Mutex
	errs  map[string]func(id string) error // by method
	shift time.Duration                    // of the clock since what is read was put

	removed func() // called when an entry has been; nil: nothing is
}

func (d *disk) fail(method, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.errs[method]; f != nil {
		return f(id)
	}
	return nil
}

// fails makes a method fail, or work again where err is nil.
func (d *disk) fails(method string, err error) {
	d.answers(method, func(string) error { return err })
}

func (d *disk) answers(method string, f func(id string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.errs == nil {
		d.errs = map[string]func(string) error{}
	}
	d.errs[method] = f
}

func (d *disk) Put(ctx context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error {
	if err := d.fail("Put", e.ID); err != nil {
		return err
	}
	return d.Store.Put(ctx, e, original, messages)
}

func (d *disk) IDs() ([]string, error) {
	if err := d.fail("IDs", ""); err != nil {
		return nil, err
	}
	return d.Store.IDs()
}

func (d *disk) Load(id string) (spool.Entry, error) {
	if err := d.fail("Load", id); err != nil {
		return spool.Entry{}, err
	}
	e, err := d.Store.Load(id)
	e.Time = e.Time.Add(d.shift)
	return e, err
}

func (d *disk) Mark(id string, marks ...spool.Mark) error {
	if err := d.fail("Mark", id); err != nil {
		return err
	}
	return d.Store.Mark(id, marks...)
}

func (d *disk) Remove(id string) error {
	if err := d.fail("Remove", id); err != nil {
		return err
	}
	err := d.Store.Remove(id)
	d.mu.Lock()
	f := d.removed
	d.mu.Unlock()
	if err == nil && f != nil {
		f()
	}
	return err
}

func (d *disk) SetAside(id string, why error) error {
	if err := d.fail("SetAside", id); err != nil {
		return err
	}
	return d.Store.SetAside(id, why)
}

// bench is a queue with a spool in memory, and servers "in" and "out".
type bench struct {
	t       *testing.T
	fs      *storetest.FS
	store   *spool.Store
	disk    disk
	in, out relay
	q       *Queue
	s       Settings
	stopped bool
	panics  string // when this recipient is told of

	mu       sync.Mutex
	tried    []string // recipient and state
	ended    []string // id, recipient and state
	kept     []string
	silent   []string
	reported []string
	faults   []string
	damaged  []string
	changes  []string // of upstreams
}

func address(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, fs: storetest.New()}
	b.s = Settings{
		Relays:   map[string]upstream.Relay{"in": &b.in, "out": &b.out},
		Hostname: "mx.example.org", From: address(t, "postmaster@example.org"),
		Route: func(to mail.Address) (upstream.Route, error) {
			switch to.Domain() {
			case "example.org":
				return upstream.Route{Name: "example.org", Upstream: "in"}, nil
			case "nowhere.example":
				return upstream.Route{}, upstream.ErrNoRoute
			}
			return upstream.Route{Name: "*", Upstream: "out"}, nil
		},
		First: time.Minute, Most: 30 * time.Minute, Warn: 4 * time.Hour, Expire: 5 * 24 * time.Hour, Parallel: 10,
	}
	b.start()
	return b
}

// start opens the spool, and begins.
func (b *bench) start() {
	var err error
	b.stopped = false
	if b.store, err = spool.Open("/spool", spool.Options{FS: b.fs}); err != nil {
		b.t.Fatal(err)
	}
	b.disk.Store = b.store
	b.q = New(Options{Store: &b.disk, Log: slog.New(slog.DiscardHandler), Keep: b.keep, Hooks: Hooks{
		Tried: func(t Tried) {
			b.note(&b.tried, t.To+" "+string(t.State))
			b.note(&b.ended, t.Entry.ID+" "+t.To+" "+string(t.State))
			if t.To == b.panics {
				panic("told")
			}
		},
		Reported: func(e *spool.Entry, what dsn.Action, id string) { b.note(&b.reported, fmt.Sprint(e.From, " ", what)) },
		Silent:   func(why Silence) { b.note(&b.silent, string(why)) },
		Fault:    func(id string, err error) { b.note(&b.faults, id+": "+err.Error()) },
		Damaged:  func(id string, _ error) { b.note(&b.damaged, id) },
		Down:     func(name, cause string) { b.note(&b.changes, name+" "+cause) },
	}}, b.s)
}

func (b *bench) note(to *[]string, s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*to = append(*to, s)
}

func (b *bench) noted(list *[]string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(*list)
}

func (b *bench) keep(_ context.Context, e *spool.Entry, group int, to []int, why string, _ *mail.Blob) error {
	for _, i := range to {
		b.note(&b.kept, e.Groups[group].To[i].Address+": "+why)
	}
	return nil
}

// stop ends the queue and the spool.
func (b *bench) stop() {
	if b.stopped {
		return
	}
	b.stopped = true
	b.q.Close(context.Background())
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

// restart ends and begins anew.
func (b *bench) restart() {
	b.stop()
	b.start()
}

// message is what a test puts into the queue.
type message struct {
	id, from string
	helo     string
	to       []string // "upstream address"
	bounce   bool
	relay    bool
	user     string
	ret      string
	notify   string
	report   bool
	content  string
	taken    time.Duration // ago
}

func (b *bench) put(m message) {
	b.t.Helper()
	if err := b.tryPut(m); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) tryPut(m message) error {
	if m.content == "" {
		m.content = "From: a@sender.example\r\nSubject: x\r\n\r\nbody of " + m.id + "\r\n"
	}
	e := spool.Entry{
		ID: m.id, Time: time.Now().Add(-m.taken), From: m.from, Bounce: m.bounce, Relay: m.relay, User: m.user, Return: m.ret, Report: m.report,
		Client: spool.Client{Helo: m.helo},
	}
	blob := mail.NewBlob([]byte(m.content))
	defer blob.Release()
	var all []*mail.Message
	for _, to := range m.to {
		up, a, _ := strings.Cut(to, " ")
		r := spool.Recipient{Address: a, Notify: m.notify}
		if n := len(e.Groups); n > 0 && e.Groups[n-1].Upstream == up {
			e.Groups[n-1].To = append(e.Groups[n-1].To, r)
			continue
		}
		e.Groups = append(e.Groups, spool.Group{Route: "r-" + up, Upstream: up, To: []spool.Recipient{r}})
		whole := mail.NewMessage(blob)
		all = append(all, whole.Prepend([]byte("X-Upstream: "+up+"\r\n")))
		whole.Release()
	}
	defer func() {
		for _, m := range all {
			m.Release()
		}
	}()
	return b.q.Put(context.Background(), e, blob, all)
}

// left gives the ids in the spool.
func (b *bench) left() []string {
	b.t.Helper()
	ids, err := b.store.IDs()
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// sleep lets time pass, and whatever has begun by then come to where it waits.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
