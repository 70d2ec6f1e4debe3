package mail

import "testing"

func TestReply(t *testing.T) {
	tests := []struct {
		name                           string
		reply                          Reply
		text, soft                     string
		positive, temporary, permanent bool
	}{
		{"positive", NewReply(250, 2, 0, 0, "Ok"), "250 2.0.0 Ok", "250 2.0.0 Ok", true, false, false},
		{"temporary", NewReply(451, 4, 3, 0, "later"), "451 4.3.0 later", "451 4.3.0 later", false, true, false},
		{"permanent", NewReply(550, 5, 1, 1, "none such"), "550 5.1.1 none such", "450 4.1.1 none such", false, false, true},
		{"no enhanced code", Reply{Code: 554, Text: "no"}, "554 no", "454 no", false, false, true},
		{"no text", Reply{Code: 354}, "354", "354", false, false, false},
		{"two lines", NewReply(554, 5, 7, 1, "one\ntwo"), "554 5.7.1 one two", "454 4.7.1 one two", false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.reply
			if got := r.String(); got != tt.text {
				t.Errorf("String: %q, want %q", got, tt.text)
			}
			if got := r.Soft().String(); got != tt.soft {
				t.Errorf("Soft: %q, want %q", got, tt.soft)
			}
			if r.Positive() != tt.positive || r.Temporary() != tt.temporary || r.Permanent() != tt.permanent {
				t.Errorf("positive %v, temporary %v, permanent %v", r.Positive(), r.Temporary(), r.Permanent())
			}
			if r.IsZero() || !(Reply{}).IsZero() {
				t.Error("IsZero")
			}
		})
	}
	if got := (Reply{}).String(); got != "" {
		t.Errorf("no reply is written as %q", got)
	}
	if got := (Enhanced{}).String(); got != "" {
		t.Errorf("no enhanced code is written as %q", got)
	}
}
