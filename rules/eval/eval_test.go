package eval

import (
	"slices"
	"testing"
)

func TestSettingsKeepTheOrderOfLines(t *testing.T) {
	known["test_add"], known["test_remove"], known["test_alias"] = "test_add", "test_remove", "test_add"
	defer func() {
		for _, k := range []string{"test_add", "test_remove", "test_alias"} {
			delete(known, k)
		}
	}()
	var s Settings
	for i, l := range []struct {
		key, args string
		known     bool
	}{
		{"test_add", " a b ", true},
		{"test_remove", "a", true},
		{"test_alias", "c", true},
		{"test_other", "d", false},
	} {
		if ok, err := s.Add(l.key, l.args, Position{"x.cf", i + 1}); ok != l.known || err != nil {
			t.Errorf("Add(%q) = %v, %v", l.key, ok, err)
		}
	}
	want := []Line{
		{"test_add", "a b", Position{"x.cf", 1}}, {"test_remove", "a", Position{"x.cf", 2}}, {"test_add", "c", Position{"x.cf", 3}},
	}
	if got := s.Lines("test_add", "test_remove"); !slices.Equal(got, want) {
		t.Errorf("lines are %v", got)
	}
	if got := s.Words("test_add"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("words are %q", got)
	}
	if got, ok := s.Last("test_add"); got != "c" || !ok {
		t.Errorf("the last is %q, %v", got, ok)
	}
	if got, ok := s.Last("test_other"); ok {
		t.Errorf("an unknown key has %q", got)
	}
}

func TestBuiltIsBuiltOnce(t *testing.T) {
	var s Settings
	n := 0
	for range 2 {
		if got := Built(&s, "n", func() int { n++; return n }); got != 1 {
			t.Errorf("built %d", got)
		}
	}
}
