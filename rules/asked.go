package rules

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// How the questions of network rules are asked: all at once, before the other rules run, and awaited when these have run. What does
// not come in time counts as no answer: the rule does not hit, and is one of Result.Unanswered.

// Bounds of what is asked for one message.
const (
	maxQuestions = 150
	maxLinkNames = 20 // as in SpamAssassin, uridnsbl_max_domains
	maxHops      = 9  // as in SpamAssassin, num_check_received
	networkTime  = 5 * time.Second
)

// question is one look-up.
type question struct {
	name string
	kind recordType
}

// reply is what came of it.
type reply struct {
	values   []string
	notThere bool // it is certain that there is no such name
	failed   bool // nobody knows: no answer, a fault of the server, or a list that says that it does not answer
}

// asking is the look-ups of one message.
type asking struct {
	dns     filter.Resolver
	ctx     context.Context //nolint:containedctx // of the look-ups alone, which end with it
	cancel  context.CancelFunc
	wait    filter.Group
	mu      sync.Mutex
	spent   int                 // look-ups, those of hosts in links among them
	replies map[question]*reply // nil: it has not come yet
	hosts   map[string]*hostLookup
	by      [][]question // by place in Set.network
	lost    []bool       // the same: the addresses of a host that it is about could not be looked up
	sets    map[string][]question
}

// hostLookup is that of the addresses of a host in links, and who wants to know of a list what it says of them.
type hostLookup struct {
	done    bool
	failed  bool
	addrs   []netip.Addr
	waiting []follower
}

// follower is a rule, with its place in Set.network.
type follower struct {
	i int
	t *networkTest
}

// ask begins to ask what the rules want to know. The result may be nil.
func (s *Set) ask(ctx context.Context, m *eval.Mail) *asking {
	if len(s.network) == 0 || m.DNS == nil {
		return nil
	}
	a := &asking{
		dns: m.DNS, replies: map[question]*reply{}, hosts: map[string]*hostLookup{}, sets: map[string][]question{},
		by: make([][]question, len(s.network)), lost: make([]bool, len(s.network)),
	}
	a.ctx, a.cancel = context.WithTimeout(ctx, timeFor(ctx))
	dealt := false
	defer func() {
		if !dealt { // it panics: nobody waits for what was asked by then
			a.stop()
		}
	}()
	a.deal(s.network, &view{set: s, m: m})
	dealt = true
	return a
}

// deal asks what the rules want to know, one question of each in turn: where there are more than may be asked, every list is
// asked about what matters most.
func (a *asking) deal(rules []*Rule, v *view) {
	wishes, most := make([][]wish, len(rules)), 0
	for i, r := range rules {
		wishes[i] = v.wishes(r.test.network)
		most = max(most, len(wishes[i]))
	}
	for k := range most {
		for i, r := range rules {
			if k >= len(wishes[i]) {
				continue
			}
			if w := wishes[i][k]; w.host != "" {
				a.follow(follower{i, r.test.network}, w.host)
			} else {
				a.put(follower{i, r.test.network}, w.question)
			}
		}
	}
}

// networkMargin is what must be left of the caller's own time, so that silent lists are not taken for a fault of ours.
const networkMargin = time.Second

// timeFor gives the time that the look-ups may take.
func timeFor(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return networkTime
	}
	left := time.Until(deadline)
	return min(networkTime, max(left-networkMargin, left/2))
}

// put begins one look-up for a rule, where nobody has, unless it is one too many, or no name.
func (a *asking) put(f follower, q question) {
	a.mu.Lock()
	_, known := a.replies[q]
	if !known && (a.spent >= maxQuestions || len(q.name) > 253) {
		a.mu.Unlock()
		return
	}
	a.by[f.i] = append(a.by[f.i], q)
	if f.t.set != "" {
		a.sets[f.t.set] = append(a.sets[f.t.set], q)
	}
	if !known {
		a.replies[q] = nil
		a.spent++
	}
	a.mu.Unlock()
	if known {
		return
	}
	a.wait.Go(func() {
		r := a.look(q)
		a.mu.Lock()
		a.replies[q] = r
		a.mu.Unlock()
	})
}

// follow asks for the addresses of a host in links, once for all rules, and a list about these.
func (a *asking) follow(f follower, name string) {
	if addr, err := netip.ParseAddr(name); err == nil {
		a.about(f, []netip.Addr{addr})
		return
	}
	a.mu.Lock()
	h, known := a.hosts[name]
	if !known {
		if a.spent >= maxQuestions {
			a.mu.Unlock()
			return
		}
		a.spent++
		h = &hostLookup{}
		a.hosts[name] = h
	}
	done := h.done
	if a.lost[f.i] = a.lost[f.i] || done && h.failed; !done {
		h.waiting = append(h.waiting, f)
	}
	a.mu.Unlock()
	switch {
	case done:
		a.about(f, h.addrs)
	case !known:
		a.wait.Go(func() { a.host(h, name) })
	}
}

// host looks the addresses of a host up.
func (a *asking) host(h *hostLookup, name string) {
	var addrs []netip.Addr
	r := a.look(question{name, typeA})
	for _, v := range r.values {
		if addr, err := netip.ParseAddr(v); err == nil {
			addrs = append(addrs, addr)
		}
	}
	a.mu.Lock()
	h.done, h.failed, h.addrs = true, r.failed, addrs
	waiting := h.waiting
	for _, f := range waiting {
		a.lost[f.i] = a.lost[f.i] || r.failed
	}
	a.mu.Unlock()
	for _, f := range waiting {
		a.about(f, addrs)
	}
}

// about asks the list of a rule about addresses.
func (a *asking) about(f follower, addrs []netip.Addr) {
	for _, addr := range addrs {
		if !text.IsPrivate(addr) {
			a.put(f, question{text.Reversed(addr) + "." + f.t.zone, f.t.kind})
		}
	}
}

// fourOnly is a resolver that can be asked for IPv4 addresses alone: no list answers with others (RFC 5782 2.4).
type fourOnly interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// look asks one question.
func (a *asking) look(q question) *reply {
	var r reply
	var err error
	switch q.kind {
	case typeTXT:
		r.values, err = a.dns.LookupTXT(a.ctx, q.name)
	case typeMX:
		var all []*net.MX
		all, err = a.dns.LookupMX(a.ctx, q.name)
		for _, mx := range all {
			r.values = append(r.values, strconv.Itoa(int(mx.Pref))+" "+mx.Host)
		}
	case typeAny:
		_, err = a.dns.LookupIPAddr(a.ctx, q.name)
	default:
		var all []netip.Addr
		all, err = a.addresses(q.name)
		for _, ip := range all {
			r.values = append(r.values, ip.String())
		}
	}
	var de *net.DNSError
	r.notThere = errors.As(err, &de) && de.IsNotFound
	r.failed = err != nil && !r.notThere && len(r.values) == 0 || q.kind == typeA && slices.ContainsFunc(r.values, isRefusal)
	return &r
}

// addresses gives the IPv4 addresses of a name. Of a resolver that asks for both families those count that it has, though it
// may have failed with the other.
func (a *asking) addresses(name string) (all []netip.Addr, err error) {
	if four, ok := a.dns.(fourOnly); ok {
		return four.LookupNetIP(a.ctx, "ip4", name)
	}
	found, err := a.dns.LookupIPAddr(a.ctx, name)
	for _, f := range found {
		if ip, ok := netip.AddrFromSlice(f.IP); ok && ip.Unmap().Is4() {
			all = append(all, ip.Unmap())
		}
	}
	return all, err
}

// stop ends what has not come.
func (a *asking) stop() {
	if a != nil {
		a.cancel()
		a.wait.Wait()
	}
}

// runNetwork waits for the answers, and says which rules hit.
func (st *run) runNetwork(ctx context.Context, a *asking) error {
	if a == nil {
		return nil
	}
	a.wait.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, r := range st.s.network {
		t := r.test.network
		asked := a.by[i]
		switch t.of {
		case ofAnswers:
			asked = a.sets[t.set]
		case ofSender:
			gone, there := len(asked) == 2, false // both were asked
			for _, q := range asked {
				reply := a.replies[q]
				gone = gone && reply != nil && reply.notThere
				there = there || reply != nil && !reply.notThere && !reply.failed
			}
			switch {
			case gone:
				st.hit(r, 1, nil, asked[0].name)
			case !there && a.unsure(i, asked):
				st.failed = append(st.failed, r)
			}
			continue
		}
		if detail, ok := a.counts(t, asked); ok {
			st.hit(r, 1, nil, detail)
		} else if a.unsure(i, asked) {
			st.failed = append(st.failed, r)
		}
	}
	return nil
}

// unsure reports whether something that a rule has asked has failed.
func (a *asking) unsure(i int, asked []question) bool {
	return a.lost[i] || slices.ContainsFunc(asked, func(q question) bool { return a.replies[q] == nil || a.replies[q].failed })
}

// counts reports whether one of the answers counts, and which.
func (a *asking) counts(t *networkTest, asked []question) (detail string, ok bool) {
	for _, q := range asked {
		r := a.replies[q]
		if r == nil {
			continue
		}
		for _, v := range r.values {
			// What is no code of a list comes from a resolver that makes up addresses for names that do not exist.
			if q.kind == typeA && t.of != ofTag && !strings.HasPrefix(v, "127.") {
				continue
			}
			if t.counts.matches(q.kind, v) {
				return q.name + " " + cut(v, maxShown), true
			}
		}
	}
	return "", false
}
