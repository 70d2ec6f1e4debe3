package eval

// netFunctions are those that ask somebody: shared databases of digests, and the classifier that learns. Rules that call them are
// known, and none of them hits by way of these: for most there are filters. Rules about DNS lists are no eval functions here:
// package rules asks the DNS itself.
var netFunctions = []Function{
	silent("check_hashbl_emails"), silent("check_hashbl_uris"), silent("check_hashbl_bodyre"), silent("check_hashbl_tag"),
	silent("check_hashbl_attachments"),
	silent("check_pyzor"), silent("check_razor2"), silent("check_razor2_range"), silent("check_dcc"), silent("check_dcc_reputation_range"),
	silent("check_bayes"),
}

// silent makes a function that never says yes, whatever its arguments.
func silent(name string) Function {
	return Function{name, func(*Settings, []string) (Check, error) {
		return func(*Mail) (int, string) { return 0, "" }, nil
	}}
}
