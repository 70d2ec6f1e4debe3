// Command httpfilter is an example of a program that the filter "http" asks: it marks mail whose subject shouts.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"net/http"
	"net/mail"
	"os"
	"strings"
	"time"
)

func check(w http.ResponseWriter, r *http.Request) {
	in := bufio.NewReader(r.Body)
	line, err := in.ReadBytes('\n')
	var envelope struct {
		From string   `json:"from"`
		To   []string `json:"to"`
	}
	if err == nil {
		err = json.Unmarshal(line, &envelope)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := map[string]any{}
	if m, err := mail.ReadMessage(in); err == nil {
		if s := m.Header.Get("Subject"); s != strings.ToLower(s) && s == strings.ToUpper(s) {
			answer["findings"] = []map[string]any{{"symbol": "SHOUTS", "strength": 1, "detail": s}}
		}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func main() {
	server := http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(check), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
