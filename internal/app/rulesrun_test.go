package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesCommandsReadAsTheFilterDoes: whose Received fields are believed, and what the files set for texts, counts in rules test and
// bench as in the filter.
func TestRulesCommandsReadAsTheFilterDoes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := write("a.cf", "header HOP X-Spam-Relays-External =~ /^\\[ ip=203\\.0\\.113\\.9 /\n"+
		"util_rb_tld example\nutil_rb_2tld co.example\nheader PLACE From:addr:domain =~ /^shop\\.co\\.example$/\n")
	message := "Received: from relay.example (relay.example [192.0.2.1]) by mx.example with ESMTP id 1; Tue, 1 Jan 2030 10:00:00 +0000\n" +
		"Received: from client.example (client.example [203.0.113.9]) by relay.example with ESMTP id 2; Tue, 1 Jan 2030 10:00:00 +0000\n" +
		"From: a@www.shop.co.example\nSubject: x\n\nx\n"
	write("messages/HOP.hit.eml", message)
	write("messages/PLACE.hit.eml", message)
	config := write("postern.yaml", standard+"filters: [rules: {default: false, files: [\""+rules+"\"], trusted: [192.0.2.0/24]}]\n")
	var out strings.Builder
	a, err := New(Options{Config: config, ConfigGiven: true, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	messages := filepath.Join(dir, "messages")
	if err := a.RulesTest(t.Context(), RulesOptions{}, []string{messages}); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := a.RulesTest(t.Context(), RulesOptions{Files: []string{rules}}, []string{messages}); err != nil {
		t.Errorf("with files: %v\n%s", err, out.String())
	}
	out.Reset()
	if err := a.RulesBench(t.Context(), RulesBenchOptions{Paths: []string{messages}, Alone: 1, Top: 1}); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, o := range []RulesBenchOptions{{Top: -1}, {Alone: -1}, {Warm: -1}} {
		o.Paths = []string{messages}
		var exit *Exit
		if err := a.RulesBench(t.Context(), o); !errors.As(err, &exit) || exit.Code != ExitUsage {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestRulesBenchTellsWhatGaveUp: a time is worth nothing without it.
func TestRulesBenchTellsWhatGaveUp(t *testing.T) {
	dir := t.TempDir()
	file, message := filepath.Join(dir, "a.cf"), filepath.Join(dir, "a.eml")
	var rules strings.Builder
	for i := range 60 {
		fmt.Fprintf(&rules, "rawbody R%02d /^(?!x{%d})(?:(\\w+)\\1?)+(?!;);/\n", i, i+1)
	}
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(message, []byte("Subject: x\n\n"+strings.Repeat("ab", 30)+";\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	a, err := New(Options{Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RulesBench(t.Context(), RulesBenchOptions{RulesOptions: RulesOptions{Files: []string{file}}, Paths: []string{message}, Alone: 1, Top: 60}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if n := strings.Count(out.String(), "  1 of 1  "); n != 60 || !strings.Contains(out.String(), "1 messages took all the work that one may") {
		t.Errorf("%d rules gave up\n%s", n, out.String())
	}
}
