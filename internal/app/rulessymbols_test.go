package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesWithNamesOfOthers: a file of rules may use any names, those of other filters' symbols too, and a policy may weigh a long one.
func TestRulesWithNamesOfOthers(t *testing.T) {
	long := "A_RULE_WITH_A_NAME_" + strings.Repeat("X", 45)
	path := filepath.Join(t.TempDir(), "a.cf")
	text := "body DKIM_FAIL /wombat/\nscore DKIM_FAIL 7.5\nbody ATTACH_EXECUTABLE /wombat/\nscore ATTACH_EXECUTABLE 0.125\nbody " + long + " /wombat/\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// rules stand first, and give way all the same.
	j := judgeOf(t, standard+"filters: [rules: {files: [\""+path+"\"]}, dkim, attachments]\npolicies: {default: {weights: {"+long+": 2, SA_DKIM_FAIL: 3}}}\n")
	symbols := j.base.Symbols()
	if s := symbols["SA_DKIM_FAIL"]; s.Weight != 7.5 {
		t.Errorf("%+v", s)
	}
	if s, ok := symbols["DKIM_FAIL"]; !ok || s.Weight == 7.5 {
		t.Errorf("the filter's own: %+v", s)
	}
	if w := j.policies["default"].policy.Weights[long]; w != 2 {
		t.Errorf("%s weighs %v", long, w)
	}
}
