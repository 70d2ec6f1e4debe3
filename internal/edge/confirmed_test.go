package edge

import (
	"context"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/pipeline"
)

// TestConfirmedName: what the connect phase finds of the client's name stands in the session of all later phases and in
// the Received field; a name that is not confirmed does not.
func TestConfirmedName(t *testing.T) {
	for _, c := range []struct {
		name   string
		result auth.IPRevResult
		ptr    string
		want   string
	}{
		{"confirmed", auth.IPRevResult{Result: auth.Pass, Name: "host.example"}, "host.example", "(host.example [127.0.0.1])"},
		{"hostile", auth.IPRevResult{Result: auth.Pass, Name: "a)\r\nX: y"}, "a)\r\nX: y", "(a???X:?y [127.0.0.1])"},
		{"not confirmed", auth.IPRevResult{Result: auth.Fail, Name: "host.example"}, "", "(unknown [127.0.0.1])"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen []string
			record := func(phases ...filter.Phase) pipeline.Stage {
				return pipeline.Stage{Spec: filter.Spec{Name: "see", Phases: filter.In(phases...)}, Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
					seen = append(seen, in.Session.PTR)
					return filter.Result{}, nil
				})}
			}
			rev := pipeline.Stage{
				Spec: filter.Spec{Name: "iprev", Phases: filter.In(filter.Connect), Provides: []string{string(auth.IPRev)}},
				Filter: filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
					return filter.Result{Facts: []filter.Fact{auth.IPRev.Of(c.result)}}, nil
				}),
			}
			plan, err := pipeline.Compile([]pipeline.Stage{rev, record(filter.Helo, filter.Mail, filter.Data)})
			if err != nil {
				t.Fatal(err)
			}
			d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
				d.gw.Plan = plan
				d.gw.Policies["default"].Plan = plan
				d.gw.AuthservID, d.gw.KeepResults = "example.org", []string{"kept.example"}
			})
			const header = `Authentication-Results: example.org; spf=pass\r\nAuthentication-Results: spf=pass x\r\nAuthentication-Results: kept.example; spf=pass\r\n`
			begin(t, d).steps(strings.Replace(oneMessage, `raw: "`, `raw: "`+header, 1))
			if len(seen) != 3 || seen[0] != c.ptr || seen[1] != c.ptr || seen[2] != c.ptr {
				t.Errorf("later phases saw %q", seen)
			}
			got := d.relay.all()
			if len(got) != 1 || !strings.Contains(got[0].content, c.want) {
				t.Fatalf("no %s in %v", c.want, got)
			}
			if n := strings.Count(got[0].content, "Authentication-Results: "); n != 2 ||
				!strings.HasPrefix(got[0].content, "Authentication-Results: example.org;\r\n\tiprev=") || !strings.Contains(got[0].content, "kept.example") {
				t.Errorf("%d fields in\n%s", n, got[0].content)
			}
		})
	}
}
