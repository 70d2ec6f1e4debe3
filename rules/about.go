package rules

import (
	"regexp"
	"strconv"
	"strings"
)

// abouts are the keywords that say something of a rule, be it defined before or after.
var abouts = map[string]func(r *reader, name, rest string){
	"score":    (*reader).score,
	"describe": func(r *reader, name, rest string) { r.descriptions[name] = rest },
	"tflags":   (*reader).tflags,
	"priority": (*reader).priority,
	"test":     (*reader).test,
	"shortcircuit": func(r *reader, _, rest string) {
		if rest != "off" {
			r.once(Inexact, "shortcircuit", "shortcircuit does nothing here, on this line and on those to come: all rules run, whatever the others say, and scores count alone")
		}
	},
}

var scoreForm = regexp.MustCompile(`^(\(?)(-?\d+(?:\.\d+)?)(\)?)$`)

// score takes "score NAME n" and "score NAME n n n n"; a number in parentheses adds to what was set before.
func (r *reader) score(name, rest string) {
	words := strings.Fields(rest)
	if len(words) != 1 && len(words) != 4 {
		r.tell(r.at, Fault, name, "score: 1 or 4 numbers are needed, not %d", len(words))
		return
	}
	var given [4]float64
	relative := false
	for i, w := range words {
		m := scoreForm.FindStringSubmatch(w)
		if m == nil || (m[1] == "") != (m[3] == "") {
			r.tell(r.at, Fault, name, "score: %q is no number", cut(w, 40))
			return
		}
		relative = relative || m[1] != ""
		f, err := strconv.ParseFloat(m[2], 64)
		if err != nil || f > 1e6 || f < -1e6 {
			r.tell(r.at, Fault, name, "score: %q is out of all bounds", cut(w, 40))
			return
		}
		given[i] = f
	}
	if len(words) == 1 {
		given = [4]float64{given[0], given[0], given[0], given[0]}
	}
	before, had := r.scores[name]
	if relative {
		if !had {
			r.tell(r.at, Fault, name, "score: nothing was set before to which this could be added")
			return
		}
		for i := range given {
			given[i] += before[i]
		}
	}
	r.scores[name] = given
}

func (r *reader) priority(name, rest string) {
	n, err := strconv.Atoi(strings.TrimSpace(rest))
	if err != nil {
		r.tell(r.at, Fault, name, "priority: %q is no number", cut(rest, 40))
		return
	}
	r.priorities[name] = n
}

// test takes "test NAME ok|fail TEXT".
func (r *reader) test(name, rest string) {
	verdict, text := word(rest)
	if verdict != "ok" && verdict != "fail" {
		r.tell(r.at, Fault, name, "test: ok or fail is needed, not %q", cut(verdict, 40))
		return
	}
	r.tests = append(r.tests, TestLine{At: r.at, Rule: name, Hit: verdict == "ok", Text: text})
}
