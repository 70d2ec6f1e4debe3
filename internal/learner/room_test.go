package learner

import (
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store/storetest"
)

func TestOldLessonsGiveWay(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{Samples: 10})
	add(t, s, Outcome{Learned: 1}, lesson(50, true, FromRules))
	for n := range 30 {
		add(t, s, Outcome{Learned: 1, GaveWay: min(n/9, 1)}, lesson(n, true, FromPeople)) // from the 11th on
	}
	add(t, s, Outcome{Learned: 1}, lesson(60, false, FromPeople))
	if c := s.Usage().Counts; c != (Counts{1, 10}) {
		t.Errorf("%+v", c)
	}
	agree(t, s, map[int]bool{19: false, 20: true, 28: true})
	if has(s, lesson(50, true, FromRules)) {
		t.Error("what rules have taught did not give way first")
	}
	_ = s.Close()
	if c := open(t, fsys, Options{Samples: 10}).Usage().Counts; c != (Counts{1, 10}) {
		t.Errorf("after a restart: %+v", c)
	}
}

// TestManyAtOnceGiveWay: also what comes in one batch is no more than is to be remembered.
func TestManyAtOnceGiveWay(t *testing.T) {
	s := open(t, storetest.New(), Options{Samples: 100, Least: 20})
	var all []Lesson
	for n := range 500 {
		all = append(all, lesson(n, n%2 == 0, FromRules))
	}
	if _, err := s.Add(all); err != nil {
		t.Fatal(err)
	}
	if u := s.Usage(); u.Counts != (Counts{100, 100}) {
		t.Errorf("%+v", u.Counts)
	}
}

// TestPeopleComeFirst: however many lessons of rules come at once, none of what people have taught gives way to them, and they are
// not counted as learned.
func TestPeopleComeFirst(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{Samples: 100, Least: 20})
	var people, rules []Lesson
	for n := range 95 {
		people = append(people, lesson(n, true, FromPeople))
	}
	add(t, s, Outcome{Learned: 95}, people...)
	for n := 100; n < 300; n++ { // all of them newer
		rules = append(rules, lesson(n, true, FromRules))
	}
	add(t, s, Outcome{Learned: 5, Crowded: 195}, rules...)
	for n := range 5 {
		if !has(s, rules[199-n]) {
			t.Errorf("the newest of the rules' lessons but %d has no room", n)
		}
	}
	old := lesson(0, true, FromPeople)
	old.Digest, old.When = Digest{9, 9, 9}, day1.AddDate(-1, 0, 0)
	add(t, s, Outcome{Learned: 1}, old) // 101 are not worth it
	corrected := rules[199]
	corrected.Spam, corrected.How = false, FromQuarantine
	more := lesson(400, true, FromPeople)
	add(t, s, Outcome{Learned: 1, Corrected: 1}, corrected, more)
	add(t, s, Outcome{Learned: 5, GaveWay: 6}, lesson(401, true, FromPeople), lesson(402, true, FromPeople), lesson(403, true, FromPeople),
		lesson(404, true, FromPeople), lesson(405, true, FromPeople)) // four of the rules', and the two oldest
	if has(s, old) || has(s, people[0]) || !has(s, people[1]) || !has(s, corrected) {
		t.Error("others gave way")
	}
	add(t, s, Outcome{Crowded: 2}, rules[0], old)
	_ = s.Close()
	s = open(t, fsys, Options{Samples: 100, Least: 20})
	if c := s.Usage().Counts; c != (Counts{1, 100}) || has(s, rules[0]) {
		t.Errorf("after a restart: %+v", c)
	}
}

// TestForgettingIsNoMakingRoom: what is taken back is told apart from what gives way.
func TestForgettingIsNoMakingRoom(t *testing.T) {
	s := open(t, storetest.New(), Options{})
	for n := range 40 {
		add(t, s, Outcome{Learned: 1}, lesson(n, true, FromPeople))
	}
	s.opt.Store(&Options{Samples: 20, Least: 20}) // as where the disk was full when it was configured
	if o, err := s.Forget([]Digest{lesson(39, true, 0).Digest}); err != nil || o != (Outcome{Forgotten: 1}) {
		t.Errorf("%+v, %v", o, err)
	}
	add(t, s, Outcome{Learned: 1, GaveWay: 20}, lesson(50, true, FromPeople))
}

// TestFewerSamplesActAtOnce, at a reload and at a start.
func TestFewerSamplesActAtOnce(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	for n := range 60 {
		add(t, s, Outcome{Learned: 1}, lesson(n, true, FromPeople))
	}
	s.Configure(Options{Samples: 40, Least: 20})
	agree := func(want int) {
		t.Helper()
		if c := s.Usage().Counts; c.Spam != want || has(s, lesson(60-want-1, true, FromPeople)) || !has(s, lesson(60-want, true, FromPeople)) {
			t.Errorf("%+v", c)
		}
	}
	agree(40)
	_ = s.Close()
	s = open(t, fsys, Options{Samples: 30, Least: 20})
	agree(30)
	fsys.FailFrom(1, 100, syscall.ENOSPC, false)
	s.Configure(Options{Samples: 20, Least: 20})
	fsys.FailFrom(1, 0, nil, false)
	agree(30)
	_ = s.Close()
	s = open(t, fsys, Options{Samples: 20, Least: 20})
	agree(20)
}
