package learner

import (
	"fmt"
	"testing"
)

func sampleOf(text string) Sample {
	g := NewGather()
	g.Words("", []byte(text))
	d := Digest{}
	copy(d[:], text)
	return g.Sample(d)
}

func TestModelLearns(t *testing.T) {
	m := New(Options{Least: 20})
	for i := range 20 {
		if m.Ready() {
			t.Fatal("ready too early")
		}
		if !m.Learn(sampleOf(fmt.Sprintf("%c minutes of the meeting about the budget", 'a'+i)), false) {
			t.Error("not learned")
		}
		m.Learn(sampleOf(fmt.Sprintf("%c cheap pills for you, buy now", 'a'+i)), true)
	}
	m.Fit()
	if !m.Ready() {
		t.Error("not ready")
	}
	if m.Learn(sampleOf("a cheap pills for you, buy now"), true) {
		t.Error("learned twice")
	}
	if s := m.Score(sampleOf("buy cheap pills")); s < 1 {
		t.Errorf("spam scores %.2f", s)
	}
	if s := m.Score(sampleOf("the budget of the meeting")); s > -1 {
		t.Errorf("ham scores %.2f", s)
	}
}
