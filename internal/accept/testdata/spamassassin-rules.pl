# Runs the rules of Mail::SpamAssassin over many messages in one process, without the network.
#
#   perl spamassassin-rules.pl RULES SITE STATE
#
# Reads a file's path a line, and answers each with a line: the score of all rules but those of the learner, in the score set that
# goes with one, and their names. STATE is a folder for its files.
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($rules, $site, $state) = @ARGV;
{
	# Rules are asked with the score set of a site that has learned; here nothing has, and nothing is asked.
	no warnings 'redefine';
	require Mail::SpamAssassin::Plugin::Bayes;
	*Mail::SpamAssassin::Plugin::Bayes::scan = sub { undef };
	*Mail::SpamAssassin::Plugin::Bayes::learner_is_scan_available = sub { 1 };
}

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
my $conf = $sa->{conf};

sub message {
	my ($file) = @_;
	open my $in, '<:raw', $file or die "$file: $!";
	local $/;
	my $text = <$in>;
	return $sa->parse(\$text, 0);
}

$| = 1;
while (my $file = <STDIN>) {
	chomp $file;
	my $mail = message($file);
	my $status = $sa->check($mail);
	my ($sum, @names) = (0);
	for my $name (@{ $status->{test_names_hit} }) {
		next if $name =~ /^BAYES_/;
		push @names, $name;
		$sum += $conf->{scoreset}->[2]->{$name} // 0;
	}
	printf "%.3f %s\n", $sum, join ',', sort @names;
	$status->finish;
	$mail->finish;
}
