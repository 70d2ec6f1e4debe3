package detection

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestFit(t *testing.T) {
	features := []Feature{
		{"SPAM_SIGN", 0.5, 0, 3},
		{"HAM_SIGN", -0.3, -2, 0},
		{"COIN_TOSS", 0.5, 0, 3},
		{"WEAK_BY_DECREE", 0.1, 0, 0.4},
		{"NEVER_SEEN", 2, 0, 4},
		{"WRONG_WAY", 0.5, 0, 3}, // a spam sign that ham has
	}
	r := rand.New(rand.NewPCG(1, 2))
	var rows []Row
	for i := range 3000 {
		row := Row{Spam: i%2 == 0, Weight: 1, Fold: i % 5}
		chance := func(f int32, spam, ham float64) {
			p := ham
			if row.Spam {
				p = spam
			}
			if r.Float64() < p {
				row.Features = append(row.Features, f)
			}
		}
		chance(0, 0.9, 0.01)
		chance(1, 0.02, 0.6)
		chance(2, 0.3, 0.3)
		chance(3, 0.9, 0.02)
		chance(5, 0.02, 0.2)
		rows = append(rows, row)
	}
	f, err := Fit(features, rows, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := f.Weights
	if w[0] < 1.5 || w[1] > -0.3 || w[2] > 0.5 || w[3] != 0.4 || w[4] != 2 || w[5] != 0 {
		t.Errorf("weights %v", w)
	}
	ham, above := 0, 0
	for i, row := range rows {
		if !row.Spam {
			ham++
			if f.Scores[i] >= 5 {
				above++
			}
		}
	}
	if float64(above) > 0.004*float64(ham) {
		t.Errorf("%d of %d ham reach the threshold", above, ham)
	}
	for i, x := range w {
		if x < features[i].Low || x > features[i].High || math.Abs(x*10-math.Round(x*10)) > 1e-6 {
			t.Errorf("%s: %v is out of its bounds, or not rounded", features[i].Name, x)
		}
	}
	if _, err := Fit(features, rows[:1], FitOptions{}); err == nil || !strings.Contains(err.Error(), "and there are 0 messages of ham and 1 of spam in 1") {
		t.Error("one row was enough")
	}
}
