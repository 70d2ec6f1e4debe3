package eval

import (
	"fmt"
	"strings"
)

// posternTops looks for names in top-level domains that cost little.
var posternTops = []Function{{"postern_cheap_top", compileCheapTop}}

// cheapTops are top-level domains that cost little or nothing, so that a name there says nothing of who has it. This is the one list of them.
var cheapTops = wordSet(`cc su ws
	accountant autos bar beauty best bid boats bond buzz cam cf cfd click club cricket cyou date download faith fun ga gq hair homes icu life
	link live loan lol makeup men ml mom monster motorcycles online ooo party pw quest racing rest review sbs shop site skin space store stream
	surf tk top trade uno webcam website win work xyz yachts`)

// isCheap reports whether a domain in lower case is in one of these.
func isCheap(domain string) bool { return cheapTops[domain[strings.LastIndexByte(domain, '.')+1:]] }

// compileCheapTop finds a domain in such a top level: the author's, that of the address for replies, of the reverse-path, of a link that a
// reader can follow, or that of the client that brought the message in.
func compileCheapTop(_ *Settings, args []string) (Check, error) {
	const name = "postern_cheap_top"
	domains := map[string]func(m *Mail, c *claims) string{
		"sender":  func(_ *Mail, c *claims) string { return c.org },
		"replies": func(_ *Mail, c *claims) string { return c.replyOrg },
		"returns": func(_ *Mail, c *claims) string { return c.returnOrg },
		"links": func(_ *Mail, c *claims) string {
			for _, h := range c.hosts() {
				if isCheap(h.host) {
					return h.host
				}
			}
			return ""
		},
		"client": func(m *Mail, _ *claims) string {
			r, _ := m.Text.ExternalRelay()
			return strings.TrimSuffix(strings.ToLower(r.RDNS), ".")
		},
	}
	if len(args) != 1 || domains[args[0]] == nil {
		return nil, fmt.Errorf("eval: %s looks at sender, replies, returns, links or client, not %q", name, args)
	}
	of := domains[args[0]]
	return func(m *Mail) (int, string) {
		d := of(m, m.claims())
		return yes(d != "" && isCheap(d), d)
	}, nil
}
