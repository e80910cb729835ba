require ["fileinto", "mailbox"];

if header :is "X-Spam" "Yes" {
    fileinto :create "Post/Sp\"a\\m} # 'x', $y = é";
    stop;
}
