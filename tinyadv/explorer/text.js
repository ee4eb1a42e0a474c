// All words of the page, in English and in Chinese. {name} is filled in.
"use strict";

const WORDS = {
  en: {
    title: "Adversarial examples, hands on",
    lead: "Choose or draw a digit, move every pixel a little, and watch the networks change their minds.",
    choose: "Choose a digit", draw: "Draw a digit", clear: "Clear", label: "label",
    sheet: "200 test images of MNIST; arrow keys move the choice",
    drawHere: "Drawing area", yourLabel: "it shows a",
    change: "Change it", image: "image x", eta: "change η", sum: "x + η", epsilon: "ε, how far each pixel moves",
    attack: "Attack", fgsm: "FGSM: the sign of the gradient", random: "random signs", rotation: "rotation",
    pgd: "PGD, 20 steps", goal: "Goal", target: "towards", noTarget: "away from the label", clip: "clip to [0, 1]",
    gradient: "Gradient", exact: "exact", rounded: "rounded, as float32 does",
    madeOn: "Made on", own: "each network itself",
    networks: "What the networks say", logits: "logit", smallest: "smallest ε that fools: {eps}",
    none: "none up to 1", already: "wrong without any change", says: "says {class}, {percent}", verdict: " ({verdict})", wrong: "wrong", right: "right", waiting: "…",
    zero: "{percent} of the gradient is exactly 0",
    line: "Along one direction (figure 4)", lineOf: "network", direction: "direction", directionFgsm: "direction: FGSM", directionRandom: "random",
    lineText: "Ten logits from ε = −{reach} to {reach}; the label's is thick. Below: images on the line; a dashed frame marks a wrong answer.",
    reach: "reach",
    transfer: "Who fools whom", transferRun: "Measure on the 200 images", transferText: "Rows: made on. Columns: shown to. Error under FGSM at ε = {eps}.",
    transferOne: "This image under FGSM, whichever attack is chosen above: the row is the network that the example was made on, the column the network that answers.",
    rubbish: "Rubbish: noise that shows nothing", noise: "New noise", step: "One step towards class", rubbishText: "Pure noise shows no digit. What do the networks claim?",
    open: "Open a network…", save: "Save as PNG", presenter: "Presenter", language: "中文",
    predict: "Predict first", predictText: "Commit to an answer; then the page sets it up and you see.",
    next: "Next question", chosen: "You said: {answer}.", question: "Question {n} of {of}",
    help: "Keys: ← → ε, ↑ ↓ image, r rounded, c clip, a attack, p presenter",
    failed: "{why}", summary: "{attack}, ε = {eps}: {answers}", answer: "{network} says {class} with {percent}",
  },
  zh: {
    title: "对抗样本：动手试试",
    lead: "选一个或画一个数字，把每个像素稍微移动一点，看这些网络如何改变主意。",
    choose: "选择数字", draw: "画一个数字", clear: "清除", label: "标签",
    sheet: "MNIST 的 200 张测试图像；用方向键选择",
    drawHere: "绘图区", yourLabel: "它是",
    change: "改变它", image: "图像 x", eta: "扰动 η", sum: "x + η", epsilon: "ε：每个像素移动多少",
    attack: "攻击", fgsm: "FGSM：梯度的符号", random: "随机符号", rotation: "旋转",
    pgd: "PGD，20 步", goal: "目标", target: "朝向", noTarget: "远离标签", clip: "截断到 [0, 1]",
    gradient: "梯度", exact: "精确", rounded: "舍入（float32）",
    madeOn: "针对", own: "各网络自己",
    networks: "网络怎么说", logits: "logit", smallest: "骗过它的最小 ε：{eps}",
    none: "直到 1 都没有", already: "不改变就已错", says: "回答 {class}，{percent}", verdict: "（{verdict}）", wrong: "错", right: "对", waiting: "…",
    zero: "梯度有 {percent} 恰为 0",
    line: "沿一个方向（图 4）", lineOf: "网络", direction: "方向", directionFgsm: "方向：FGSM", directionRandom: "随机",
    lineText: "ε 从 −{reach} 到 {reach} 的十个 logit；粗线是标签的。下面是线上的图像；虚线框表示答错。",
    reach: "范围",
    transfer: "谁骗过谁", transferRun: "用 200 张图像测量", transferText: "行：针对谁制作。列：给谁看。FGSM、ε = {eps} 时的错误率。",
    transferOne: "这张图像在 FGSM 下（与上面所选的攻击无关）：各列的网络对各行网络的样本的回答。",
    rubbish: "垃圾样本：什么都不是的噪声", noise: "新的噪声", step: "朝该类走一步", rubbishText: "纯噪声不是任何数字。网络却声称看到了什么？",
    open: "打开网络…", save: "保存为 PNG", presenter: "演示", language: "English",
    predict: "先预测", predictText: "先选定答案；然后页面会演示给你看。",
    next: "下一题", chosen: "你的回答：{answer}。", question: "第 {n} 题，共 {of} 题",
    help: "按键：← → ε，↑ ↓ 图像，r 舍入，c 截断，a 攻击，p 演示",
    failed: "{why}", summary: "{attack}，ε = {eps}：{answers}", answer: "{network} 以 {percent} 回答 {class}",
  },
};

// The names of the networks that the page opens on, in Chinese; one's own keep theirs.
const NAMES = {
  "softmax regression": "softmax 回归", RBF: "RBF 网络",
  "maxout, naive": "maxout，普通训练", "maxout, adversarially trained": "maxout，对抗训练",
};

// Guided questions: a question, answers to choose from, what is then set up, and what it shows; on an image of which
// all that they say is true.
const EXAMPLE = "183";
const QUESTIONS = [
  {
    en: ["Every pixel moves by 0.25 at random. What happens to the answers?", ["almost nothing", "half are wrong", "most are wrong"],
      "Almost nothing: random changes cancel in a sum of many terms."],
    zh: ["每个像素随机移动 0.25。回答会怎样？", ["几乎不变", "一半错", "大多数错"], "几乎不变：许多项的和中，随机变化相互抵消。"],
    state: { attack: "random", eps: 0.25 },
  },
  {
    en: ["And if each pixel moves by 0.25 in the direction in which the cost of the label rises (the sign of its gradient)?", ["almost nothing changes", "the naive networks are wrong", "all are right but less sure"],
      "The naive networks are wrong: now all terms have the same sign, and nothing cancels."],
    zh: ["如果每个像素沿梯度符号移动 0.25 呢？", ["几乎不变", "普通训练的网络答错", "都对但不太确定"], "普通训练的网络答错：现在所有项同号，没有抵消。"],
    state: { attack: "fgsm", eps: 0.25, rounded: false },
  },
  {
    en: ["How small an ε is usually enough to fool the naive maxout network?", ["about 0.01", "about 0.1", "more than 0.3"],
      "About 0.1: 0.08 for half of these images, a third of the paper's 0.25. Its card says “smallest ε that fools”; try other images."],
    zh: ["多小的 ε 通常足以骗过普通的 maxout 网络？", ["约 0.01", "约 0.1", "大于 0.3"], "约 0.1：对一半的图像 0.08 就够了，是论文的 0.25 的三分之一。见卡片上的“骗过它的最小 ε”；换几张图像试试。"],
    state: { attack: "fgsm", eps: 0.1 },
  },
  {
    en: ["Move the other way: ε = −0.25. What does softmax regression do with the label's probability?", ["lowers it too", "raises it"],
      "It raises it, as the naive maxout network does unless it is 100 % already: downhill the cost falls, however odd the image looks. The adversarially trained network is a little less sure there, and the RBF network not sure at all: the image is far from all of its centres."],
    zh: ["反方向移动：ε = −0.25。softmax 回归给标签的概率会怎样？", ["也下降", "上升"], "上升；普通训练的 maxout 网络也一样（除非已是 100 %）：沿下坡方向代价下降。对抗训练的网络稍不确定，RBF 网络则完全不确定：图像远离它的所有中心。"],
    state: { attack: "fgsm", eps: -0.25 },
  },
  {
    en: ["The RBF network can be fooled too. How sure is it of a wrong answer?", ["as sure as the others", "hardly at all"],
      "Hardly at all: it is sure only near one of its ten centres, one for each digit, and a change of all pixels takes the image away from all of them."],
    zh: ["RBF 网络也会被骗。它对错误答案有多确定？", ["和其他网络一样", "几乎不确定"], "几乎不确定：它只在十个中心（每个数字一个）附近才确定，而改变所有像素会使图像远离所有中心。"],
    state: { attack: "fgsm", eps: 0.25 },
  },
  {
    en: ["The paper's software rounded the gradient. A sure network under FGSM with the rounded gradient: fooled more, or less?", ["more", "less", "the same"],
      "Less: for the label the gradient starts from its probability minus 1. Where the probability rounds to 1 this is 0, and the attack no longer knows what to lead away from."],
    zh: ["论文的软件对梯度做了舍入。用舍入的梯度，很确定的网络被骗得更多还是更少？", ["更多", "更少", "一样"], "更少：对标签，梯度从其概率减 1 开始。当概率在 float32 中舍入为 1 时，它为 0，攻击不再知道要远离什么。"],
    state: { attack: "fgsm", eps: 0.25, rounded: true },
  },
  {
    en: ["The adversarially trained network resists FGSM. Does it resist PGD: 20 small steps, with no pixel ending more than 0.25 from where it was?", ["yes", "no"],
      "Mostly no: it learned to resist one step of one size."],
    zh: ["对抗训练的网络能抵抗 FGSM。它能抵抗 PGD（20 小步，每个像素最多离原处 0.25）吗？", ["能", "不能"], "大多不能：它只学会了抵抗一大步。"],
    state: { attack: "pgd", eps: 0.25, rounded: false },
  },
  {
    en: ["Examples made on softmax regression, a linear model: do they fool the naive maxout network?", ["hardly ever: it is another kind of network", "often"],
      "Often: networks that learned the same task have similar gradients, so a direction that is bad for one is often bad for the other."],
    zh: ["针对 softmax 回归（线性模型）制作的样本能骗过普通训练的 maxout 网络吗？", ["几乎不能，它是另一种网络", "经常能"], "经常能：学会同一任务的网络梯度相似，对一个有害的方向常对另一个也有害。"],
    state: { attack: "fgsm", eps: 0.25, source: "0" },
  },
  {
    en: ["Along FGSM's direction ε runs from −10 to 10. What do the ten logits of the naive maxout network look like?", ["wild curves", "almost straight lines with one bend"],
      "Almost straight lines with one bend, at the image: the network is piecewise linear, and each single kink is small."],
    zh: ["沿 FGSM 方向，ε 从 −10 到 10。普通训练的 maxout 网络的十个 logit 是什么样子？", ["剧烈弯曲", "几乎是直线，只有一个弯"], "几乎是直线，在图像处有一个弯：网络是分段线性的，每个折点都很小。"],
    state: { attack: "fgsm", eps: 0.25, reach: 10, source: "own" },
  },
  {
    en: ["Pure noise, which shows no digit. What does the naive maxout network say?", ["“I don't know”: all classes near 0.1", "it is sure of some digit"],
      "It is sure of some digit: so far from any digit its logits differ a lot, and softmax makes certainty of that. Only the RBF network can decline."],
    zh: ["不含任何数字的纯噪声。普通 maxout 网络会怎么说？", ["“不知道”：各类都接近 0.1", "它确信是某个数字"], "它确信是某个数字：离数字这么远，各 logit 相差很大，softmax 就变得确信。只有 RBF 网络能拒绝回答。"],
    state: { attack: "fgsm", eps: 0, image: "noise-1" },
  },
];
