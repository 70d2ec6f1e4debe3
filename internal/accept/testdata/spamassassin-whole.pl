# Has the whole of Mail::SpamAssassin learn, and judge with rules and learner together, without the network: what the sum of
# spamassassin-rules.pl and spamassassin-bayes.pl is held against.
#
#   perl spamassassin-whole.pl RULES SITE STATE
#
# Reads a command a line, and answers each with a line:
#   spam FILE         learns; "1" when it was taken
#   ham FILE
#   synced            writes what was learned
#   check FILE        the score
# STATE is a folder for its files.
use strict;
use warnings;
use Mail::SpamAssassin;

my ($rules, $site, $state) = @ARGV;

# What has learned begins anew, as another process: which set of scores it takes is decided when it begins, and a second one in the
# same process lets rules hit that do not.
my $sa = Mail::SpamAssassin->new({
	rules_filename     => $rules,
	site_rules_filename => $site,
	userprefs_filename => "$state/user_prefs",
	userstate_dir      => $state,
	home_dir_for_helpers => $state,
	dont_copy_prefs    => 1,
	local_tests_only   => 1,
	post_config_text   => "use_bayes 1\nuse_bayes_rules 1\nbayes_auto_learn 0\nbayes_auto_expire 0\nbayes_path $state/bayes\n"
		. "bayes_store_module Mail::SpamAssassin::BayesStore::DBM\nuse_auto_welcomelist 0\n",
});
$sa->init(1);
$| = 1;
print "1\n" if $ENV{SYNCED};
while (my $line = <STDIN>) {
	chomp $line;
	my ($verb, $file) = split / /, $line, 2;
	if ($verb eq 'synced') {
		$sa->rebuild_learner_caches({ verbose => 0, showdots => 0 });
		$sa->finish_learner;
		$ENV{SYNCED} = 1;
		exec $^X, $0, @ARGV or die "$0: $!"; # whoever asks waits for each answer: nothing was read ahead
	}
	open my $in, '<:raw', $file or die "$file: $!";
	my $text = do { local $/; <$in> };
	my $mail = $sa->parse(\$text, 0);
	if ($verb eq 'check') {
		my $status = $sa->check($mail);
		printf "%.3f\n", $status->get_score;
		$status->finish;
	} else {
		my $status = $sa->learn($mail, undef, $verb eq 'spam' ? 1 : 0, 0);
		print $status->did_learn ? "1\n" : "0\n";
		$status->finish;
	}
	$mail->finish;
}
