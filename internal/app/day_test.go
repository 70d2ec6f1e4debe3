package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest"
)

// A day of mail from senders that are none of spam's: pools of big providers, a sender of bulk mail, a mailing list, an
// office's printer, programs. Greylisting is on. What each does when it is put off is what is known of it, and is said
// beside it; a minute of theirs is a fifth of a second here, and delays are counted in their minutes, by the try that
// was taken: a slow machine makes none of them longer.

// minute is a minute of the day's.
const minute = 200 * time.Millisecond

// bound is the longest that an honest message may be delayed.
const bound = 15 // minutes

// Where the senders are, as their DNS says it.
const dayZones = `
spf.protection.outlook.com TXT "v=spf1 ip4:40.92.0.0/15 ip4:40.107.0.0/16 ip4:52.100.0.0/15 -all"
contoso.example TXT "v=spf1 include:spf.protection.outlook.com -all"
contoso.example MX 0 contoso-example.mail.protection.outlook.com
contoso-example.mail.protection.outlook.com A 52.101.8.1
_spf.google.com TXT "v=spf1 ip4:209.85.128.0/17 ip4:74.125.0.0/16 ~all"
gmail.com TXT "v=spf1 redirect=_spf.google.com"
gmail.com MX 5 gmail-smtp-in.l.google.com
gmail-smtp-in.l.google.com A 74.125.1.1
amazonses.com TXT "v=spf1 ip4:54.240.0.0/18 ip4:76.223.176.0/20 -all"
eu-west-1.amazonses.com TXT "v=spf1 include:amazonses.com -all"
eu-west-1.amazonses.com MX 10 feedback-smtp.eu-west-1.amazonses.com
feedback-smtp.eu-west-1.amazonses.com A 54.240.1.1
lists.example.net TXT "v=spf1 ip4:198.51.100.20 -all"
lists.example.net MX 10 lists.example.net
lists.example.net A 198.51.100.20
20.100.51.198.in-addr.arpa PTR lists.example.net
small.example MX 10 mail.small.example
mail.small.example A 198.51.100.77
77.100.51.198.in-addr.arpa PTR mail.small.example
app.example MX 10 mail.app.example
mail.app.example A 203.0.113.9
`

// sender is one kind of sender.
type sender struct {
	name  string
	door  string   // the listener
	hosts []string // addresses; each try comes from the next
	helo  string
	esmtp bool // EHLO, and what comes with it
	tls   bool
	user  bool // logs in
	bdat  bool // by BDAT where it is offered
	from  func(n int, to string) string
	// retries are the minutes, each after the try before it, at which it comes again. Nothing comes after the last.
	retries []int
	// single: a transaction for each recipient; else those that were put off come again together.
	single bool
	plain  bool // without Date and Message-ID
	mail   [][]string
	bot    bool // it is not to get through: did it, nothing here would be greylisted
}

var (
	one   = []string{"bob@example.org"}
	mixed = []string{"postmaster@example.org", "bob@example.org", "nobody@example.org", "alice@example.org"}
)

func daySenders() []sender {
	var members []string
	for i := range 25 {
		members = append(members, fmt.Sprintf("member%d@example.org", i))
	}
	return []sender{
		{
			// Exchange Online: again every 15 minutes for a day, from any host of the pool
			// (https://cloudsteady.jp/2019/09/27/5170; MessageRetryInterval of
			// https://learn.microsoft.com/en-us/previous-versions/office/exchange-server-api/ff339771(v=exchg.150) is 15 minutes).
			name: "Exchange Online", door: "public", hosts: []string{"40.107.22.90", "40.92.58.17", "52.100.174.229", "40.107.6.41"},
			helo: "EUR05-AM6-obe.outbound.protection.outlook.com", esmtp: true, tls: true, bdat: true, retries: []int{15, 15, 15},
			from: func(n int, _ string) string { return fmt.Sprintf("person%d@contoso.example", n%3) },
			mail: [][]string{one, mixed, one, {"alice@example.org", "bob@example.org"}, mixed},
		},
		{
			// Google: again after seven minutes, from another host
			// (http://www.tradebooster.com/blog/tag/email-delays/ has such a log), and later less often.
			name: "Google", door: "public", hosts: []string{"209.85.200.169", "209.85.208.42", "74.125.82.50"},
			helo: "mail-wr1-f42.google.com", esmtp: true, tls: true, bdat: true, retries: []int{7, 15, 30},
			from: func(n int, _ string) string { return fmt.Sprintf("person%d@gmail.com", n) },
			mail: [][]string{one, mixed, one, {"alice@example.org"}},
		},
		{
			// Amazon SES: a reverse-path for each message, kept for its retries, which go on for 12 hours and more; their times are
			// not published (https://repost.aws/knowledge-center/ses-understand-soft-bounces).
			name: "Amazon SES", door: "public", hosts: []string{"54.240.3.16", "76.223.180.9"},
			helo: "a3-16.smtp-out.eu-west-1.amazonses.com", esmtp: true, tls: true, retries: []int{10, 20, 40}, single: true,
			from: func(n int, _ string) string {
				return fmt.Sprintf("01020190%08x-a81f2c3d-7f2e-4b1c-9d55-%012x-000000@eu-west-1.amazonses.com", n*7919, n*104729)
			},
			mail: [][]string{one, {"alice@example.org"}, mixed, one},
		},
		{
			// Mailman with VERP: list-bounces+member=domain@ (https://docs.mailman3.org/projects/mailman/en/latest/src/mailman/mta/docs/verp.html),
			// a message for each member, sent by Postfix, whose queue_run_delay and minimal_backoff_time are 300 s (postconf(5)).
			name: "Mailman", door: "public", hosts: []string{"198.51.100.20"}, helo: "lists.example.net", esmtp: true, tls: true,
			retries: []int{5, 5, 10, 20}, single: true,
			from: func(_ int, to string) string {
				return "talk-bounces+" + strings.Replace(to, "@", "=", 1) + "@lists.example.net"
			},
			mail: [][]string{members, members},
		},
		{
			// The same list without VERP: one transaction for all members.
			name: "Mailman, many recipients", door: "public", hosts: []string{"198.51.100.20"}, helo: "lists.example.net", esmtp: true,
			retries: []int{5, 5, 10, 20}, from: func(int, string) string { return "news-bounces@lists.example.net" },
			mail: [][]string{append([]string{"nobody@example.org", "postmaster@example.org"}, members...)},
		},
		{
			// A small office's Postfix, without SPF.
			name: "Postfix without SPF", door: "public", hosts: []string{"198.51.100.77"}, helo: "mail.small.example", esmtp: true,
			retries: []int{5, 5, 10, 20}, from: func(int, string) string { return "office@small.example" },
			mail: [][]string{one, mixed, one},
		},
		{
			// A printer that scans to mail: one label in HELO, no Date, no Message-ID, and no second try.
			name: "printer", door: "printers", hosts: []string{"10.1.7.20"}, helo: "scanner", plain: true,
			from: func(int, string) string { return "scanner@example.org" },
			mail: [][]string{one, {"alice@example.org"}, one},
		},
		{
			// Programs that log in, of Java and of Python, by their way to call themselves; they have no queue.
			name: "Jakarta Mail", door: "submission", hosts: []string{"203.0.113.9"}, helo: "app-7d9c", esmtp: true, tls: true, user: true,
			from: func(int, string) string { return "ann@client.test" }, mail: [][]string{one, {"alice@example.org", "bob@example.org"}},
		},
		{
			name: "smtplib", door: "submission", hosts: []string{"203.0.113.9"}, helo: "[127.0.1.1]", esmtp: true, tls: true, user: true,
			from: func(int, string) string { return "ann@client.test" }, mail: [][]string{one, {"alice@example.org", "bob@example.org"}},
		},
		{
			name: "bot", door: "public", hosts: []string{"203.0.113.200"}, helo: "mail.bot.example", esmtp: true, bot: true,
			from: func(n int, _ string) string { return fmt.Sprintf("x%d@app.example", n) }, mail: [][]string{one, {"alice@example.org", "bob@example.org"}},
		},
	}
}

// TestDay runs the day: with our engine, where big senders are known by default, and with the other, where nobody is.
func TestDay(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][2]string{
		"postern":                      {"engine: postern, chunking: true", ""},
		"go-smtp, without big senders": {"engine: go-smtp", "big_senders: []"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDay(t, more[0], more[1])
			var all sync.WaitGroup
			slots := map[string]chan struct{}{} // by the first host
			for _, s := range daySenders() {
				if slots[s.hosts[0]] == nil {
					slots[s.hosts[0]] = make(chan struct{}, 20) // default_destination_concurrency_limit (postconf(5))
				}
				own := slots[s.hosts[0]]
				all.Go(func() { d.send(t, s, own) })
			}
			all.Wait()
			d.compare(t)
		})
	}
}

// day is a gateway for a day.
type day struct {
	*testGateway
	sink *peertest.Sink
	addr map[string]string

	mu   sync.Mutex
	sent map[string]*posted // by message and recipient
}

// posted is one message to one recipient.
type posted struct {
	sender  string
	delay   int    // in minutes, of the try that was taken
	reply   string // the last one
	taken   bool
	refused bool
	bot     bool
}

func openDay(t *testing.T, engine, more string) *day {
	t.Helper()
	dns, err := zone.Serve(dayZones)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "mx.example.org")
	mailboxes := "bob@example.org\nalice@example.org\n"
	for i := range 25 {
		mailboxes += fmt.Sprintf("member%d@example.org\n", i)
	}
	file := filepath.Join(dir, "mailboxes")
	if err := os.WriteFile(file, []byte(mailboxes), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &day{sink: peertest.StartSink(t), addr: map[string]string{}, sent: map[string]*posted{}}
	// How many connections come in a minute is counted in minutes that are none of the day's.
	listener := fmt.Sprintf("address: \"127.0.0.1:0\", %s, limits: {rate: 100000, total_rate: 100000}, proxy_protocol: [127.0.0.0/8], tls: {certificate: %q, key: %q}", engine, cert, key)
	d.testGateway = startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
exempt_networks: []
listeners:
  public: {%[1]s, early_talkers: 50ms}
  printers: {%[1]s, relay: {networks: [10.1.7.20]}}
  submission: {%[1]s, relay: {users: %[2]q}}
routes: [{to: [example.org], upstream: sink, recipients: {verify: file, file: %[3]q}}]
upstreams: {sink: {servers: [%[4]q], tls: none}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%[5]q]}
filters: [iprev, pregreet, spf, dkim, dmarc, attachments, heuristics, greylist: {delay: %[6]s}]
%[7]s
`, listener, writeUser(t, dir), file, d.sink.Addr, dns.Addr(), 5*minute, more))
	for _, l := range d.listeners {
		d.addr[l.cfg.Name] = l.net.Addr().String()
	}
	return d
}

// send has a sender send all of its mail, each message at its time.
func (d *day) send(t *testing.T, s sender, slots chan struct{}) {
	t.Helper()
	var all sync.WaitGroup
	for n, to := range s.mail {
		groups := [][]string{to}
		if s.single {
			groups = nil
			for _, r := range to {
				groups = append(groups, []string{r})
			}
		}
		for _, group := range groups {
			all.Go(func() {
				time.Sleep(time.Duration(n*3) * minute)
				d.post(t, s, n, group, slots)
			})
		}
	}
	all.Wait()
}

// post brings one message to its recipients, with as many tries as its sender makes.
func (d *day) post(t *testing.T, s sender, n int, to []string, slots chan struct{}) {
	t.Helper()
	id := fmt.Sprintf("%s.%d.%s", strings.ReplaceAll(s.name, " ", "-"), n, strings.Split(to[0], "@")[0])
	pending, minutes := to, 0
	for try := 0; len(pending) > 0; try++ {
		host := s.hosts[(n+try)%len(s.hosts)]
		slots <- struct{}{}
		replies, err := s.try(d.addr[s.door], host, id, s.from(n, to[0]), pending)
		if err != nil {
			t.Errorf("%s, try %d from %s: %v", id, try, host, err)
		}
		<-slots
		var again []string
		d.mu.Lock()
		for i, r := range pending {
			p := d.sent[id+" "+r]
			if p == nil {
				p = &posted{sender: s.name, bot: s.bot}
				d.sent[id+" "+r] = p
			}
			p.delay, p.reply = minutes, replies[i]
			switch {
			case strings.HasPrefix(replies[i], "2"):
				p.taken = true
			case strings.HasPrefix(replies[i], "5"):
				p.refused = true
			default:
				again = append(again, r)
			}
		}
		d.mu.Unlock()
		if pending = again; len(pending) == 0 || try >= len(s.retries) {
			return
		}
		minutes += s.retries[try]
		time.Sleep(time.Duration(s.retries[try]) * minute)
	}
}

// compare looks at what became of everything.
func (d *day) compare(t *testing.T) {
	t.Helper()
	arrived := map[string]int{}
	for _, m := range d.sink.Taken() {
		_, id, _ := strings.Cut(m.Content, "\r\nX-Day: ")
		id, _, _ = strings.Cut(id, "\r\n")
		for _, to := range m.To {
			arrived[id+" "+to]++
		}
		for _, field := range []string{"Date", "Message-ID"} { // RFC 6409 8.1, 8.3: the printer's are put in
			if n := strings.Count(m.Content, "\r\n"+field+": "); n != 1 {
				t.Errorf("%s arrived with %d of %s", id, n, field)
			}
		}
	}
	delays := map[string][2]int{} // by sender: how many came at once, and the longest delay
	for name, p := range d.sent {
		unknown := strings.HasSuffix(name, " nobody@example.org")
		if p.refused != unknown || p.taken == (unknown || p.bot) {
			t.Errorf("%s: %s", name, p.reply)
		}
		if (arrived[name] == 1) != p.taken {
			t.Errorf("%s: arrived %d times; %s", name, arrived[name], p.reply)
		}
		if p.taken && p.delay > bound {
			t.Errorf("%s: %d minutes late", name, p.delay)
		}
		x := delays[p.sender]
		if p.taken && p.delay == 0 {
			x[0]++
		}
		x[1] = max(x[1], p.delay)
		delays[p.sender] = x
	}
	for _, s := range daySenders() {
		t.Logf("%-25s %d recipients at once, the last after %d minutes", s.name, delays[s.name][0], delays[s.name][1])
	}
}
