package upstream_test

import (
	"fmt"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

func ExampleTable() {
	table, err := upstream.NewTable([]upstream.Rule{
		{To: []string{"example.org", "*.example.org"}, Route: upstream.Route{Upstream: "exchange"}},
		{To: []string{"*"}, Route: upstream.Route{Upstream: "smarthost"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range []string{"bob@mail.example.org", "bob@elsewhere.test"} {
		a, err := mail.ParseAddress(s)
		if err != nil {
			fmt.Println(err)
			return
		}
		route, err := table.Route(upstream.Query{Recipient: a})
		fmt.Println(s, route.Upstream, err)
	}
	// Output:
	// bob@mail.example.org exchange <nil>
	// bob@elsewhere.test  upstream: no route
}
